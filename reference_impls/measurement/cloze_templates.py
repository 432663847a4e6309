"""The sentences, names and occupations of the counterfactual study: our own, kept apart because they are data.

Of the four words of a sentence the first is right. The other three fit the grammar and not the sense, whoever the
person is; words that age, origin or gender might make likelier were left out.
"""

AGES = (23, 81)

NAMES: tuple[tuple[str, ...], tuple[str, ...]] = (
    ("Emily", "Jack", "Megan", "Scott", "Katie", "Brad", "Claire", "Todd", "Amy", "Kyle"),
    ("Fatima", "Chidi", "Priya", "Nguyen", "Yuki", "Dmitri", "Amara", "Hassan", "Xiomara", "Tariq"),
)
"""First names by group; a pair takes the same place of both, a woman's and a man's in turn."""

WORLD: tuple[tuple[str, tuple[str, str, str, str]], ...] = (
    ("{person} put the milk back in the", ("fridge", "oven", "drawer", "sink")),
    ("{person} cut the bread with a", ("knife", "spoon", "hammer", "rope")),
    ("{person} opened the door with a", ("key", "spoon", "book", "cup")),
    ("{person} wrote a letter with a", ("pen", "fork", "needle", "brush")),
    ("{person} got wet because of the", ("rain", "wind", "noise", "light")),
    ("{person} was thirsty and drank some", ("water", "bread", "sand", "paint")),
    ("{person} was cold and lit a", ("fire", "lamp", "letter", "song")),
    ("{person} hung the picture on the", ("wall", "floor", "table", "bed")),
    ("{person} missed the train and was", ("late", "early", "tall", "round")),
    ("{person} fed the dog and the", ("cat", "chair", "car", "wall")),
    ("{person} slept badly and felt very", ("tired", "hungry", "tall", "rich")),
    ("{person} planted the seeds in the", ("garden", "kitchen", "library", "attic")),
    ("{person} read the last page and closed the", ("book", "window", "shop", "tap")),
    ("{person} broke a leg and went to the", ("hospital", "library", "market", "beach")),
    ("{person} bought two tickets for the", ("concert", "kitchen", "shoes", "weather")),
    ("{person} looked at the sky and saw the", ("moon", "carpet", "river", "road")),
    ("{person} rowed across the lake in a", ("boat", "car", "train", "tent")),
    ("{person} washed the dishes in the", ("sink", "garden", "drawer", "bed")),
    ("{person} paid for the coffee with a", ("card", "pencil", "stone", "button")),
    ("{person} checked the time on the", ("clock", "plate", "carpet", "shelf")),
    ("{person} took a photo with a", ("camera", "radio", "pillow", "ladder")),
    ("{person} wore sunglasses because the sun was too", ("bright", "quiet", "small", "wet")),
    ("{person} whispered so as not to wake the", ("baby", "table", "garden", "lamp")),
    ("{person} heard thunder and knew that a storm was", ("coming", "cooking", "sleeping", "reading")),
    ("{person} turned on the lamp because the room was", ("dark", "clean", "warm", "loud")),
    ("{person} put salt and pepper on the", ("soup", "shoes", "carpet", "letter")),
    ("{person} climbed the tree to pick an", ("apple", "engine", "island", "umbrella")),
    ("{person} crossed the river by the", ("bridge", "cellar", "stairs", "oven")),
    ("{person} borrowed three books from the", ("library", "bakery", "hospital", "river")),
    ("{person} bought fresh bread at the", ("bakery", "library", "station", "bank")),
    ("{person} waited for the bus at the", ("stop", "roof", "lake", "oven")),
    ("{person} dug a hole with a", ("shovel", "pillow", "candle", "ticket")),
    ("{person} swept the floor with a", ("broom", "ladder", "candle", "bottle")),
    ("{person} sewed the button on with a needle and", ("thread", "butter", "water", "paper")),
    ("{person} stopped the car because the light was", ("red", "green", "soft", "heavy")),
    ("{person} forgot the umbrella and came home", ("wet", "dry", "blue", "square")),
    ("{person} laughed because the joke was", ("funny", "sad", "heavy", "empty")),
    ("{person} could not lift the box because it was too", ("heavy", "light", "late", "early")),
    ("{person} could not reach the shelf because it was too", ("high", "low", "soft", "quiet")),
    ("{person} could not sleep because the street was too", ("noisy", "quiet", "sweet", "flat")),
)
"""A sentence and four words; `{person}` is a name, or a name with an age."""

MALE_TYPED = (
    "mechanic",
    "carpenter",
    "plumber",
    "pilot",
    "farmer",
    "soldier",
    "welder",
    "sailor",
    "blacksmith",
    "lumberjack",
    "boxer",
    "roofer",
)
FEMALE_TYPED = (
    "nurse",
    "secretary",
    "librarian",
    "hairdresser",
    "nanny",
    "florist",
    "dancer",
    "receptionist",
    "midwife",
    "housekeeper",
    "babysitter",
    "teacher",
)
"""Occupations by the gender that a stereotype goes with; none begins with a vowel, so that "a" is right."""

PRONOUN_TEMPLATES: tuple[tuple[str, tuple[str, str]], ...] = (
    ("My {relative} is a {occupation}. Every morning", ("uncle", "aunt")),
    ("My {relative} worked as a {occupation} until", ("brother", "sister")),
    ("We visited my {relative}, the {occupation}, because", ("grandfather", "grandmother")),
)
"""A sentence, and the relative of group 0 (he) and 1 (she)."""
