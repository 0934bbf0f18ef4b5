"""The words of the corpus `mini-nli`, as data: who, what, where, and how an annotator explains.

Predicates are phrases that fit after "is" or "are": "playing a guitar", "in a park", "outdoors".
`{their}`, `{they}` and `{are}` stand for words that agree with the subject; `mini_claims` and
`mini_corpus` fill them in. A change here changes the corpus: raise `MINI_CORPUS_VERSION`.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal


class Posture(Enum):
    """What an activity keeps the body busy with; activities of two postures exclude each other."""

    WATER = auto()
    WHEELS = auto()
    FEET = auto()
    SEAT = auto()
    HANDS = auto()
    PAWS = auto()
    TEETH = auto()


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is in the scene, from the caption's words to the most general ones."""

    caption: str
    plain: str
    definite: str
    general: str
    pronoun: str  # he, she, it or they; "they" takes plural verbs
    others: tuple[str, ...]  # whom the scene does not show
    kind: Literal["person", "animal"] = "person"  # whose activities, garments and traits fit


@dataclass(frozen=True, slots=True)
class Place:
    """Where a scene happens."""

    phrase: str
    noun: str
    is_outdoors: bool


@dataclass(frozen=True, slots=True)
class Activity:
    """What the subject does, what follows from it and what does not."""

    singular: str  # the predicate
    plural: str  # the same for several subjects
    general: tuple[str, ...]  # predicates that follow from the activity
    posture: Posture
    maybe: tuple[str, ...]  # predicates that may or may not be true as well
    places: tuple[Place, ...]


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(text.split("; "))


STREET = Place("on a busy street", "a busy street", True)
PARK = Place("in a green park", "a green park", True)
BEACH = Place("on a sandy beach", "a sandy beach", True)
FIELD = Place("in a grassy field", "a grassy field", True)
TRAIL = Place("on a mountain trail", "a mountain trail", True)
RIVER = Place("next to a wide river", "the bank of a river", True)
MARKET = Place("at an open air market", "an open air market", True)
LAKE = Place("in a cold lake", "a cold lake", True)
YARD = Place("in a large back yard", "a back yard", True)
KITCHEN = Place("in a small kitchen", "a small kitchen", False)
LIVING_ROOM = Place("in a bright living room", "a living room", False)
RESTAURANT = Place("in a crowded restaurant", "a restaurant", False)
CLASSROOM = Place("in a quiet classroom", "a classroom", False)
GYM = Place("in a large gym", "a gym", False)
GARAGE = Place("in a dark garage", "a garage", False)
POOL = Place("in an indoor pool", "an indoor pool", False)

SUBJECTS = (
    Subject("a young man", "a man", "the man", "a person", "he", ("a woman", "a girl")),
    Subject("a bald man", "a man", "the man", "a person", "he", ("a woman", "a girl")),
    Subject("an old man", "a man", "the man", "a person", "he", ("a woman", "a boy")),
    Subject("a young woman", "a woman", "the woman", "a person", "she", ("a man", "a boy")),
    Subject("a blond woman", "a woman", "the woman", "a person", "she", ("a man", "a boy")),
    Subject("a little boy", "a boy", "the boy", "a child", "he", ("a girl", "a woman")),
    Subject("a little girl", "a girl", "the girl", "a child", "she", ("a boy", "a man")),
    Subject("two young men", "two men", "the men", "some people", "they", ("two women",)),
    Subject("two older women", "two women", "the women", "some people", "they", ("two men",)),
    Subject(
        "three little boys", "three boys", "the boys", "some children", "they", ("three girls",)
    ),
    Subject("a small brown dog", "a dog", "the dog", "an animal", "it", ("a cat",), "animal"),
    Subject("a big black dog", "a dog", "the dog", "an animal", "it", ("a cat",), "animal"),
    Subject(
        "two white dogs", "two dogs", "the dogs", "some animals", "they", ("two cats",), "animal"
    ),
)

COLORS = ("red", "blue", "green", "white", "black", "yellow", "orange")
GARMENTS = {
    "person": (
        ("jacket", "jackets"),
        ("shirt", "shirts"),
        ("hat", "hats"),
        ("sweater", "sweaters"),
    ),
    "animal": (("collar", "collars"),),
}

ACTIVITIES = {
    "person": (
        Activity(
            "playing a guitar",
            "playing guitars",
            ("making music", "playing an instrument"),
            Posture.HANDS,
            ("practicing for a concert", "playing {their} favorite song"),
            (STREET, PARK, LIVING_ROOM, MARKET),
        ),
        Activity(
            "painting a picture",
            "painting pictures",
            ("making art", "using paint"),
            Posture.HANDS,
            ("practicing for an art class", "making a gift for {their} mother"),
            (PARK, BEACH, CLASSROOM, RIVER),
        ),
        Activity(
            "cooking a meal",
            "cooking a meal",
            ("preparing food", "making something to eat"),
            Posture.HANDS,
            ("making {their} favorite dinner", "cooking for a large family"),
            (KITCHEN, YARD, RESTAURANT),
        ),
        Activity(
            "washing dishes",
            "washing dishes",
            ("cleaning something", "using water and soap"),
            Posture.HANDS,
            ("getting ready for a party", "helping {their} mother"),
            (KITCHEN, RESTAURANT, RIVER),
        ),
        Activity(
            "fixing a car",
            "fixing a car",
            ("working on a vehicle", "using tools"),
            Posture.HANDS,
            ("getting ready for a race", "helping {their} father"),
            (GARAGE, STREET, YARD),
        ),
        Activity(
            "taking photographs",
            "taking photographs",
            ("using a camera", "making pictures"),
            Posture.HANDS,
            ("working for a newspaper", "making a gift for {their} family"),
            (STREET, TRAIL, BEACH, MARKET, GYM),
        ),
        Activity(
            "riding a bike",
            "riding bikes",
            ("using wheels to move", "riding something"),
            Posture.WHEELS,
            ("training for a race", "riding to {their} school"),
            (STREET, PARK, TRAIL),
        ),
        Activity(
            "riding a skateboard",
            "riding skateboards",
            ("using wheels to move", "riding something"),
            Posture.WHEELS,
            ("practicing for a contest", "trying to learn a new trick"),
            (STREET, PARK, GARAGE),
        ),
        Activity(
            "swimming",
            "swimming",
            ("getting wet", "moving through water"),
            Posture.WATER,
            ("training for a race", "trying to cool off"),
            (LAKE, POOL),
        ),
        Activity(
            "running",
            "running",
            ("moving fast", "moving on foot"),
            Posture.FEET,
            ("training for a race", "trying to win a contest"),
            (PARK, BEACH, TRAIL, GYM, FIELD),
        ),
        Activity(
            "kicking a soccer ball",
            "kicking a soccer ball",
            ("playing with a ball", "touching a ball"),
            Posture.FEET,
            ("practicing for a big game", "trying to win a contest"),
            (PARK, FIELD, YARD, GYM),
        ),
        Activity(
            "dancing",
            "dancing",
            ("moving to music", "moving around"),
            Posture.FEET,
            ("practicing for a contest", "celebrating a birthday"),
            (STREET, LIVING_ROOM, GYM, BEACH),
        ),
        Activity(
            "reading a book",
            "reading books",
            ("looking at pages", "reading something"),
            Posture.SEAT,
            ("reading {their} favorite story", "studying for a test"),
            (PARK, LIVING_ROOM, CLASSROOM, BEACH),
        ),
        Activity(
            "eating a sandwich",
            "eating sandwiches",
            ("eating food", "having a bite to eat"),
            Posture.SEAT,
            ("eating {their} favorite lunch", "celebrating a birthday"),
            (PARK, RESTAURANT, KITCHEN, CLASSROOM, MARKET),
        ),
        Activity(
            "sitting on a bench",
            "sitting on a bench",
            ("sitting down", "using a seat"),
            Posture.SEAT,
            ("waiting for {their} sister", "resting after a long walk"),
            (STREET, PARK, RIVER, GYM, MARKET),
        ),
    ),
    "animal": (
        Activity(
            "running",
            "running",
            ("moving fast", "moving on foot"),
            Posture.PAWS,
            ("trying to find {their} owner", "training for a race"),
            (PARK, FIELD, BEACH, TRAIL, YARD),
        ),
        Activity(
            "jumping over a log",
            "jumping over a log",
            ("jumping in the air", "leaving the ground"),
            Posture.PAWS,
            ("trying to learn a new trick", "training for a contest"),
            (PARK, FIELD, TRAIL, YARD),
        ),
        Activity(
            "swimming",
            "swimming",
            ("getting wet", "moving through water"),
            Posture.WATER,
            ("trying to cool off", "trying to catch a fish"),
            (LAKE, POOL),
        ),
        Activity(
            "chewing on a stick",
            "chewing on sticks",
            ("biting something", "using {their} teeth"),
            Posture.TEETH,
            ("waiting for {their} owner", "playing with {their} favorite toy"),
            (PARK, YARD, BEACH, LIVING_ROOM, GARAGE),
        ),
    ),
}

# Ends of captions that no hypothesis speaks of.
DETAILS = (
    "on a sunny day",
    "on a cold day",
    "early in the morning",
    "while some others walk by",
    "while a small crowd watches",
    "in front of a large group",
)

# Additions that no caption supports: a purpose follows an activity, a trait stands alone.
PURPOSES = {
    "person": _phrases(
        "to impress {their} friends; to win a prize; to forget a bad day; for the first time; "
        "to earn some money; because {they} {are} bored; with {their} best friend; "
        "before going home; as part of a show; for {their} new job; to surprise {their} father; "
        "to raise money for charity; because {they} lost a bet; after a long day at work; "
        "with {their} cousin; every single weekend; for a school project; to become famous; "
        "until the sun goes down; instead of doing homework; to relax before dinner; "
        "because a doctor said so; to please {their} boss; against {their} will; "
        "as a favor to a neighbor; without any lessons"
    ),
    "animal": _phrases(
        "to impress {their} owner; to win a prize; for the first time; "
        "because {they} {are} bored; before going home; as part of a show; to get a treat; "
        "every single weekend; until the sun goes down; to surprise {their} owner"
    ),
}
TRAITS = {
    "person": _phrases(
        "very tired; very happy; sad; hungry; lost; famous; new in town; on vacation; "
        "late for an appointment; nervous; proud of {their} work; thinking about lunch; "
        "in love; far from home; feeling sick; worried about money; expecting a phone call; "
        "having the best day ever; from another country; allergic to cats; short of time; "
        "the winner of a prize; a fan of old movies; afraid of dogs"
    ),
    "animal": _phrases(
        "very tired; very happy; hungry; lost; famous; well trained; thirsty; far from home; "
        "feeling sick; nervous"
    ),
}

# Predicates that exclude every activity of the lexicon.
CONTRARIES = {
    "person": _phrases(
        "sleeping in a bed; fast asleep; watching television; taking a nap; flying an airplane; "
        "doing nothing at all; hiding under a blanket; taking a shower; driving a truck; "
        "riding an elephant; typing on a computer; rowing a boat; playing the piano; "
        "skiing down a mountain; building a snowman; crawling under a fence; climbing a ladder; "
        "knitting a scarf; driving a bus; milking a cow; fishing from a boat; chopping wood; "
        "digging a hole; mopping a floor; getting a haircut; brushing {their} teeth"
    ),
    "animal": _phrases(
        "sleeping in a bed; fast asleep; taking a nap; doing nothing at all; "
        "hiding under a blanket; locked in a cage; crawling under a fence; riding in a truck; "
        "eating from a bowl; sitting in a boat"
    ),
}

OUTDOORS = ("outdoors", "outside", "in the open air")
INDOORS = ("indoors", "inside", "inside a building")

CAPTIONS = (
    "{caption} in {garment} {are} {activity} {place}{detail}.",
    "{caption} wearing {garment} {are} {activity} {place}{detail}.",
    "{place}, {caption} in {garment} {are} {activity}{detail}.",
)

# How annotators explain a label, given what the caption says and what the hypothesis claims.
EXPLANATIONS = {
    "entailment": (
        "if {definite} {are} {given}, {they} {are} {claim}.",
        "{definite} {are} {given}, so {they} {are} {claim}.",
        "{plain} {given} must be {claim}.",
    ),
    "neutral": (
        "just because {definite} {are} {given} does not mean {they} {are} {claim}.",
        "{plain} {given} may not be {claim}.",
        "{they} could be {given} even if {they} {are} not {claim}.",
        "we do not know that {definite} {are} {claim}.",
        "it is not stated that {definite} {are} {claim}.",
    ),
    "contradiction": (
        "{definite} can not be {claim} while {given}.",
        "{plain} can not be {given} and {claim} at the same time.",
        "{they} {are} either {given} or {claim}.",
        "{definite} {are} {given}, not {claim}.",
        "if {they} {are} {given}, {they} can not be {claim}.",
    ),
}
ACTIVITY_ENTAILED = (
    "{given} is {claim}.",
    "{given} is a way of {claim}.",
    "{given} implies {claim}.",
)
PLACE_ENTAILED = ("{noun} is {claim}.", "being {given} is being {claim}.")
PLACE_EXCLUDED = ("{noun} is not {claim}.",)
SUBJECT_EXCLUDED = (
    "{they} {are} {given}, not {claim}.",
    "{given} can not be {claim}.",
    "{definite} {are} not {claim}.",
    "the sentence is about {given} and not about {claim}.",
)
# Some annotators only restate the sentences: such an explanation hardly tells the label.
RESTATEMENTS = (
    "{definite} {are} {given}.",
    "the first sentence says that {they} {are} {given}.",
    "one sentence says {given} and the other says {claim}.",
)
