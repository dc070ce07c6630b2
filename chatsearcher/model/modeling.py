"""ChatSearcher: words and retrieved pictures from one causal sequence (paper, section 4)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers import initialization as init

from chatsearcher.model import language, lora
from chatsearcher.model.batch import Batch
from chatsearcher.model.configuration import ChatSearcherConfig
from chatsearcher.model.connector import Connector
from chatsearcher.model.known import FeatureSink, read_with_known
from chatsearcher.model.losses import (
    KeyProjection,
    retrieval_losses,
    unit,
    word_targets,
)
from chatsearcher.model.output import ChatSearcherOutput
from chatsearcher.model.queue import (
    Dictionary,
    FeatureQueue,
    GlobalPictures,
    batch_dictionary,
    gather_pictures,
)
from chatsearcher.model.tower import AverageTower, VisionTower
from chatsearcher.model.upkeep import UpkeptModel
from chatsearcher.model.words import read as words_read


class ChatSearcherModel(UpkeptModel):
    """Tower, connector, causal language model, retrieval head and feature queue.

    Built from a configuration its parts have new weights; see
    :mod:`chatsearcher.model.assembly` for parts with public weights.

    Args:
        config: the settings.
        llm: a language model with weights, instead of a new one of ``config.llm_config``.
    """

    config_class = ChatSearcherConfig
    config: ChatSearcherConfig
    main_input_name = "input_ids"
    feature_sink: FeatureSink | None = None  # keeps what the frozen tower says, by picture
    supports_gradient_checkpointing = True
    _no_split_modules = ["VisionTower", "Connector"]  # noqa: RUF012 (for device_map)
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _keep_in_fp32_modules_strict = [  # noqa: RUF012
        "queue.features",
        "key_projection.average",
        "average_tower",
    ]

    def __init__(self, config: ChatSearcherConfig, llm: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        hidden = config.llm_config.get_text_config().hidden_size
        self.tower = VisionTower(config)
        self.connector = Connector(config, self.tower.token_dim, self.tower.feature_dim)
        self.llm = llm or AutoModelForCausalLM.from_config(config.llm_config)
        if llm is not None:
            for part in llm.modules():  # or post_init fills them with new weights
                setattr(part, "_is_hf_initialized", True)  # noqa: B010
        self.query_projection = nn.Linear(hidden, config.embedding_dim, bias=False)  # M_v
        self.key_projection = KeyProjection(  # M_Q
            self.tower.feature_dim, config.embedding_dim, config.momentum
        )
        # One element, not a scalar: DeepSpeed's broadcast cannot view a scalar as bytes.
        self.log_scale = nn.Parameter(torch.empty(1))
        self.queue = FeatureQueue(config.queue_size, self.tower.feature_dim)
        trained = config.momentum > 0 and not config.freeze_tower
        self.average_tower = AverageTower(self.tower) if trained else None
        self.adapters: lora.Adapters | None = None
        language.select_before_head(self.llm)
        self.post_init()
        self.apply_freezing()

    # ---------------------------------------------------------------- training

    def forward(
        self,
        batch: Batch | None = None,
        target_count: Tensor | float | None = None,
        **fields: Any,
    ) -> ChatSearcherOutput:
        """Read a batch and return the unified loss.

        1. The tower reads the pictures: tokens [I, P, C] and pooled features [I, F].
        2. The connector makes ``<CLS> q1 … qN`` of each: [I, 1 + N, H].
        3. They take the places of the ``<image>`` tokens among the word embeddings: [B, T, H].
        4. The language model reads the rows, each packed sample by itself; logits are made only
           where a word is learned: [n, V], for large vocabularies a piece at a time.
        5. Words: cross-entropy, summed.
        6. The pooled features of all ranks enter the queue; the hidden state at each learned
           picture's ``[IMG]`` is told apart among it (equations 2 and 3), summed.
        7. The sum of both, over the number of targets of all ranks (equation 1).

        In evaluation mode the queue is read and not changed, and ranks do not speak to each other.

        Args:
            batch: or its fields by name.
            target_count: the divisor, instead of this step's number of targets of all ranks: for
                gradient accumulation over batches of different sizes.
        """
        batch = batch if batch is not None else Batch(**fields)
        visual_ILH, pooled_IF = self._read_batch(batch)  # 1, 2
        embeddings_BTH = self._embed(batch, visual_ILH)  # 3
        positions_n, words_n = word_targets(batch.labels, batch.segment_ids)
        hidden_BTH, words = words_read(  # 4, 5
            self.llm,
            self.config.word_loss,
            embeddings_BTH,
            batch.position_ids,
            positions_n,
            words_n,
            batch.segment_ids,
            self.config.attention,
        )
        pooled_IF = pooled_IF[: len(batch.image_ids)]  # without the stand-in
        pictures, dictionary = self._dictionary(batch, pooled_IF, len(words_n))  # 6
        losses_n, correct_n = self._retrieve(batch, hidden_BTH, pooled_IF, pictures, dictionary)
        images = losses_n.sum()

        text_count, image_count = (
            pictures.counts.new_tensor(c) for c in (len(words_n), len(losses_n))
        )
        total = pictures.counts.sum() if target_count is None else target_count
        ranks = self._ranks()
        loss = (words + self.config.retrieval_weight * images) * ranks  # 7
        loss = loss / torch.as_tensor(total, device=loss.device).clamp(min=1)
        return ChatSearcherOutput(
            loss=loss,
            text_loss=words.detach() / text_count.clamp(min=1),
            image_loss=images.detach() / image_count.clamp(min=1),
            retrieval_accuracy=correct_n.float().sum() / image_count.clamp(min=1),
            text_count=text_count,
            image_count=image_count,
            target_count=pictures.counts.sum(),
            dictionary_size=(dictionary.ids_K >= 0).sum(),
            logit_scale=self.logit_scale.detach(),
        )

    @property
    def logit_scale(self) -> Tensor:
        """1 / tau, at most ``max_logit_scale``."""
        return self.log_scale[0].float().clamp(max=math.log(self.config.max_logit_scale)).exp()

    def update_momentum(self) -> None:
        """Move the averages that encode the keys; the loop calls it after each optimiser step."""
        if self.config.momentum > 0:
            self.key_projection(None)
        if self.average_tower is not None:
            self.average_tower.move(self.tower, self.config.momentum)

    def reset_momentum(self) -> None:
        """Start the averages anew where the weights are: after loading parts from elsewhere."""
        self.key_projection.reset_average()
        if self.average_tower is not None:
            self.average_tower.move(self.tower, 0.0)

    def _ranks(self) -> int:
        ready = torch.distributed.is_available() and torch.distributed.is_initialized()
        return torch.distributed.get_world_size() if self.training and ready else 1

    def _read_pictures(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        if not len(pixels) and self.training and torch.is_grad_enabled():
            # A rank without pictures runs the same modules as the others, or ZeRO-3 waits for ever.
            size = self.config.image_size
            with self.tower.standing_still():
                tokens_IPC, pooled_IF = self.tower(pixels.new_zeros(1, 3, size, size))
            return self.connector(tokens_IPC, pooled_IF), pooled_IF
        if not len(pixels):
            hidden = self.config.llm_config.get_text_config().hidden_size
            visual = pixels.new_zeros(0, self.config.num_query_tokens + 1, hidden)
            return visual, pixels.new_zeros(0, self.tower.feature_dim)
        tokens_IPC, pooled_IF = self.tower(pixels)
        return self.connector(tokens_IPC, pooled_IF), pooled_IF

    def _read_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """As :meth:`_read_pictures`, with features from a cache where they are known."""
        if batch.known is None or not len(batch.image_positions):
            return self._read_pictures(batch.pixel_values)
        size = self.config.image_size
        tokens_IPC, pooled_IF = read_with_known(self.tower, batch, size, self.feature_sink)
        return self.connector(tokens_IPC, pooled_IF), pooled_IF

    def _embed(self, batch: Batch, visual_ILH: Tensor) -> Tensor:
        embeddings_BTH = self.llm.get_input_embeddings()(batch.input_ids)
        visual_ILH = visual_ILH.to(embeddings_BTH)
        if not len(batch.image_positions):
            return embeddings_BTH + 0 * visual_ILH.sum()
        if len(batch.image_positions) != len(visual_ILH):
            raise ValueError(
                f"the batch has {len(visual_ILH)} pictures but {len(batch.image_positions)} places "
                f"for them (keys {batch.keys}); expected one row of image_positions for each"
            )
        rows_I1 = batch.image_positions[:, :1]
        columns_IL = (
            batch.image_positions[:, 1:]
            + 1
            + torch.arange(visual_ILH.shape[1], device=visual_ILH.device)
        )
        return embeddings_BTH.index_put((rows_I1.expand_as(columns_IL), columns_IL), visual_ILH)

    def _dictionary(
        self, batch: Batch, pooled_IF: Tensor, words: int
    ) -> tuple[GlobalPictures, Dictionary]:
        features_IF = pooled_IF.detach()
        if self.average_tower is not None and len(pooled_IF):
            features_IF = self.average_tower.tower.pool(batch.pixel_values)
        counts = torch.stack(
            [batch.image_targets.new_tensor(words, dtype=torch.long), batch.image_targets.sum()]
        )
        if not self.training:
            pictures = GlobalPictures(features_IF.float(), batch.image_ids, 0, counts)
        else:
            pictures = gather_pictures(features_IF, batch.image_ids, counts)
        if self.config.negatives == "batch":
            return pictures, batch_dictionary(pictures.features_nF, pictures.ids_n)
        add = self.queue.enqueue if self.training else self.queue.peek
        return pictures, add(pictures.features_nF, pictures.ids_n)

    def _retrieve(
        self,
        batch: Batch,
        hidden_BTH: Tensor,
        pooled_IF: Tensor,
        pictures: GlobalPictures,
        dictionary: Dictionary,
    ) -> tuple[Tensor, Tensor]:
        targets_n = batch.image_targets.nonzero().squeeze(1)
        rows, columns = batch.image_positions[targets_n].unbind(1)
        queries_nD = unit(self.query_projection(hidden_BTH[rows, columns]).float())
        online_KF = None
        if not self.config.freeze_tower:
            online_nF = gather_pictures(pooled_IF, batch.image_ids, pictures.counts).features_nF
            kept = min(len(online_nF), len(dictionary.slot_n))
            online_KF = dictionary.features_KF.index_put(
                (dictionary.slot_n,), online_nF[len(online_nF) - kept :]
            )
        keys_KD = self.key_projection(dictionary.features_KF, online_KF)
        if not len(targets_n):  # keeps the same modules in the graph on every rank
            nothing = 0 * (queries_nD.sum() + keys_KD.sum() + self.logit_scale)
            return nothing[None][:0] + nothing, targets_n.bool()
        rows_n = pictures.start + targets_n
        return retrieval_losses(
            queries_nD,
            keys_KD,
            dictionary.own_n[rows_n],
            dictionary.excluded(rows_n),
            self.logit_scale,
        )

    # --------------------------------------------------------------- inference

    @torch.no_grad()
    def encode_images(self, pixel_values: Tensor) -> Tensor:
        """Pictures [I, 3, height, width] -> unit vectors [I, D], float32: the gallery's keys."""
        tower = self.tower if self.average_tower is None else self.average_tower.tower
        return self.key_projection(tower.pool(pixel_values)).float()

    @torch.no_grad()
    def encode_queries(self, batch: Batch) -> Tensor:
        """Unit vectors [Q, D], float32, one for each ``[IMG]`` that has no picture after it.

        Rows from the top, positions from the left; :meth:`ChatSearcherProcessor.encode_query` ends
        a dialogue with such an ``[IMG]``.

        Raises:
            ValueError: a batch without one.
        """
        asked_BT = batch.input_ids == self.config.token_ids()[0]
        asked_BT = asked_BT & (batch.segment_ids > 0)
        asked_BT[batch.image_positions[:, 0], batch.image_positions[:, 1]] = False
        if not asked_BT.any():
            raise ValueError(
                f"no sample of the batch (keys {batch.keys}) ends in [IMG]; encode dialogues with "
                "ChatSearcherProcessor.encode_query"
            )
        visual_ILH = self.embed_images(batch.pixel_values)
        hidden_BTH = language.run(
            self.llm,
            self._embed(batch, visual_ILH),
            batch.position_ids,
            batch.position_ids.new_zeros(0),
            batch.segment_ids,
            self.config.attention,
        ).hidden_BTH
        return self.project_queries(hidden_BTH[asked_BT.to(hidden_BTH.device)])

    @torch.no_grad()
    def embed_images(self, pixel_values: Tensor) -> Tensor:
        """Pictures -> what stands between ``[IMG]`` and ``[/IMG]``: [I, 1 + N, H]."""
        return self._read_pictures(pixel_values)[0]

    def project_queries(self, hidden_nH: Tensor) -> Tensor:
        """Hidden states at ``[IMG]`` -> unit vectors [n, D], float32."""
        return unit(self.query_projection(hidden_nH).float())

    def _init_weights(self, module: nn.Module) -> None:
        # The language model and the Q-former look after themselves; open_clip has filled the tower.
        if isinstance(module, Connector):
            module.init_weights(self.config.initializer_range)
        elif isinstance(module, (KeyProjection, FeatureQueue)):
            module.init_weights()
        elif module is self.query_projection:
            init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)
        elif module is self:
            init.constant_(self.log_scale, math.log(1 / self.config.temperature))
