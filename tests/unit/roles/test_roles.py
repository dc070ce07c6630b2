"""Replay, the question-answer loop and the language model that asks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatsearcher.benchmarks import BENCHMARKS
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.foundation.language import Answer
from chatsearcher.roles import ANSWERERS, QUESTIONERS, SIMULATORS, Questioner, User, UserSimulator
from chatsearcher.roles.loop import question_dialogue, write_dialogues
from chatsearcher.roles.questioner import LanguageModelQuestioner
from chatsearcher.roles.replay import Replay
from chatsearcher.world.pictures import picture_id
from chatsearcher.world.scene import Scene

ONE = Scene.from_key("beach.day|left:2-big-red-plain-cat|right:1-small-blue-striped-dog")


class Model:
    """Says the next of some texts, and remembers what it was asked."""

    identity = {"model": "scripted"}  # noqa: RUF012

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.prompts: list[str] = []

    async def complete(self, prompt, seed: int = 0) -> Answer:
        self.prompts.append(prompt.user)
        return Answer(self.texts[len(self.prompts) - 1])

    async def close(self) -> None:
        pass


class Fixed:
    """Answers with the number of the question."""

    identity = {"answerer": "fixed"}  # noqa: RUF012
    count = 0

    def answer(self, question: str, picture: Image) -> str:
        self.count += 1
        return f"answer {self.count}"


def test_everything_in_the_tables_loads_and_fits_its_protocol() -> None:
    simulator = SIMULATORS["world"]()
    assert isinstance(simulator, UserSimulator)
    assert isinstance(simulator.user(picture_id(ONE, 1), 0), User)
    assert isinstance(QUESTIONERS["world"](), Questioner)
    assert issubclass(QUESTIONERS["language-model"], LanguageModelQuestioner)
    assert callable(ANSWERERS["world"]().answer)


def test_replay_says_what_was_recorded_whatever_is_shown() -> None:
    recorded = Dialogue().user("a").assistant("b?").user("c").assistant(Image("x")).user("d")
    user = Replay({"picture": recorded}).user("picture", 0)
    prefixes = [user.begin()]
    while (found := user.respond(prefixes[-1].assistant("something else"))) is not None:
        prefixes.append(found)
    assert prefixes == list(recorded.rounds())
    with pytest.raises(ValueError, match="no recorded dialogue is about 'other'"):
        Replay({"picture": recorded}).user("other", 0)
    with pytest.raises(ValueError, match="no user's turn"):
        Replay({"picture": Dialogue()}).user("picture", 0)


def test_replay_is_known_by_what_was_recorded() -> None:
    one, other = Dialogue().user("a"), Dialogue().user("b")
    assert Replay({"x": one}).identity == Replay({"x": one}).identity
    assert Replay({"x": one}).identity != Replay({"x": other}).identity


def test_the_loop_writes_what_the_benchmark_reads(tmp_path: Path) -> None:
    names = [f"val2017/{number}.jpg" for number in range(3)]
    questions = [f"Is it {number}" for number in range(30)]
    questions[4] = "What is\nthis?  And that?"
    model = Model(*(f"{text}?" if "?" not in text else text for text in questions))
    count = write_dialogues(
        tmp_path / "dialogues/coco.json",
        [(Image(name), f"caption of {name}") for name in names],
        LanguageModelQuestioner(model),
        Fixed(),
    )
    assert count == 3
    (tmp_path / "Protocol").mkdir()
    (tmp_path / "Protocol/Search_Space_coco.json").write_text(json.dumps(names))
    task = BENCHMARKS["chatir-coco"].load(tmp_path, {})
    assert len(task.queries) == 33
    assert task.said[names[0]][:2] == (f"caption of {names[0]}", "Is it 0? answer 1")
    assert task.said[names[0]][5] == "What is this? answer 5"
    assert model.prompts[1] == (
        f"Description: caption of {names[0]}\nAssistant: Is it 0?\nUser: answer 1"
    )


def test_the_world_makes_dialogues_with_itself() -> None:
    picture = Image(picture_id(ONE, 1))

    class Counting:
        identity = {"questioner": "counting"}  # noqa: RUF012

        def ask(self, dialogue, candidates) -> str:
            assert not candidates
            return "How many cats are there"

    said = question_dialogue(picture, "cats", Counting(), ANSWERERS["world"](), rounds=2)
    assert said == ["cats", "How many cats are there? Two.", "How many cats are there? Two."]


def test_what_cannot_be_a_dialogue_is_refused(tmp_path: Path) -> None:
    picture = Image("x")
    with pytest.raises(ValueError, match="the caption about picture 'x' is empty"):
        question_dialogue(picture, " ", LanguageModelQuestioner(Model()), Fixed())
    with pytest.raises(ValueError, match="wrote no question: 'I see\\.'"):
        question_dialogue(picture, "a", LanguageModelQuestioner(Model("I see.")), Fixed())
    twice = [(picture, "a"), (picture, "a")]
    model = LanguageModelQuestioner(Model("A?", "B?"))
    with pytest.raises(ValueError, match="picture 'x' comes twice"):
        write_dialogues(tmp_path / "x.json", twice, model, Fixed(), rounds=1)
    assert not (tmp_path / "x.json").exists()
