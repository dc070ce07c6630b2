"""The kinds of recipe: a tower's, first words of a language model and a connector, a stage's."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatsearcher.data.records import ContrastiveConfig, DataConfig
from chatsearcher.training.build import ModelSettings
from chatsearcher.training.new_llama import LanguageModelSettings
from chatsearcher.training.settings import RunSettings
from chatsearcher.training.tokenizer import TokenizerSettings
from chatsearcher.training.tower import TowerSettings
from chatsearcher.training.words import WordsSettings


@dataclass(frozen=True, kw_only=True)
class TowerRecipe(RunSettings):
    """A contrastive training of a tower, after that of the tokenizer.

    Attributes:
        run: the run's folder; the tower is saved in its ``model/``, the language model's tokenizer
            in its ``tokenizer/``.
        start: the ``model/`` folder of another tower of the same build, whose picture side this one
            goes on from.
        locked: that picture side stays as it is; only the words are trained.
        choices: the picture world only: beside the contrast, every picture is asked for all of its
            attributes by multiple choice (``chatsearcher.world.choices``).
        validation: batches of held-out pairs for the evaluation hook.
    """

    run: str
    tower: TowerSettings = field(default_factory=TowerSettings)
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    data: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    start: str | None = None
    locked: bool = False
    choices: bool = False
    validation: int = 4

    def __post_init__(self) -> None:
        if self.locked and self.start is None:
            raise ValueError("locked=True without start: there is no tower to keep as it is")
        if self.choices and self.data.kind != "world":
            raise ValueError(
                f"choices=True with data.kind={self.data.kind!r}; only the picture world knows the "
                "right answers"
            )


@dataclass(frozen=True, kw_only=True)
class WordsRecipe(RunSettings):
    """A language model that learns its tower's words (``training.words``).

    Attributes:
        run: the run's folder; the language model is saved in its ``model/``.
        tower: the ``model/`` folder of the tower.
        tokenizer: the tower's and the language model's.
        tower_recipe: a tower recipe that is trained first where its run is missing.
        data: sources of texts; ``length`` is in tokens.
        validation: held-out batches for the evaluation hook.
    """

    run: str
    tower: str
    tokenizer: str
    data: DataConfig
    tower_recipe: str | None = None
    llm: LanguageModelSettings = field(default_factory=LanguageModelSettings)
    words: WordsSettings = field(default_factory=WordsSettings)
    validation: int = 4


@dataclass(frozen=True, kw_only=True)
class StageRecipe(RunSettings):
    """What both stages have.

    Attributes:
        run: the run's folder; the model is saved in its ``model/``.
        data: the mix, the batch and the sequence length.
        validation: held-out batches for the evaluation hook.
    """

    run: str
    data: DataConfig
    validation: int = 4


@dataclass(frozen=True, kw_only=True)
class ReadingRecipe(StageRecipe):
    """The first training of a new connector (``training.reading``).

    Attributes:
        model: how the new model is put together; ``query_tokens`` words are said of a picture.
        tower_recipe, words_recipe: as stage 1's.
    """

    model: ModelSettings
    tower_recipe: str | None = None
    words_recipe: str | None = None


@dataclass(frozen=True, kw_only=True)
class Stage1Recipe(StageRecipe):
    """Alignment of a new model, or further alignment of one.

    Attributes:
        model: how the new model is put together.
        tower_recipe: a tower recipe that is trained first where its run is missing (nano).
        words_recipe: likewise, what makes the language model's first weights
            (``model.llm.start``).
        reading_recipe: likewise, what makes the connector's first weights (``model.start``).
        start: the folder of a finished run whose model this one goes on from, instead of a new one.
    """

    model: ModelSettings
    tower_recipe: str | None = None
    words_recipe: str | None = None
    reading_recipe: str | None = None
    start: str | None = None


@dataclass(frozen=True, kw_only=True)
class Stage2Recipe(StageRecipe):
    """Instruction tuning of a finished stage 1.

    Attributes:
        start: the folder of the finished run whose model this one goes on from.
    """

    start: str
