"""The ways to tune a model, and what suits each."""

from dataclasses import dataclass

# How all weights are trained: plainly; as by a script that takes the classifier as timm makes it; or so that a
# pre-trained model keeps what it knows.
PLAIN, ORDINARY, GENTLE = TUNINGS = ("plain", "ordinary", "gentle")
# Those that say what becomes of what a model knows already.
OF_PRETRAINED = (ORDINARY, GENTLE)

# How composites look, whatever the tuning: elsewhere objects do not fill the frame, and the light is another.
PLACEMENT, LIGHTING = 0.5, 0.4


@dataclass(frozen=True)
class TuningDefaults:
    """What suits a tuning, where nothing else is said.

    Attributes:
        learning_rate: the largest of one cycle.
        classifier_share: of the steps, before masks are learned.
        mask_share: of the steps, in which masks are learned.
        clean_share: of each batch, the images that keep their own background.
        clutter: of the proposal's backgrounds, those that are pieces of objects.
        distractors: objects in each of the proposal's backgrounds, in the mean, where no other backgrounds are said and
            no statistics are held.
        candidates: for each of the proposal's backgrounds, where photographs are among them; 1 where none are.
    """

    learning_rate: float = 5e-4
    classifier_share: float = 0.05
    mask_share: float = 0.1
    clean_share: float = 0.25
    # With a third of pieces, other cameras' images lose a point.
    clutter: float = 0.5
    distractors: float = 0.0
    candidates: int = 1


# A model with random weights says nothing of its images at first.
OF_RANDOM_WEIGHTS = TuningDefaults(classifier_share=0.3)
_OF_KNOWLEDGE = {
    # BatchNorm's statistics, which are not held, follow pieces of objects, by which other cameras' images lose.
    PLAIN: TuningDefaults(clutter=0.0),
    # What is known goes in the first steps, and goes the less the sooner they show more than a studio. What is then
    # learned anew is told apart better where other objects are about, or the harder photographs; what is kept is not.
    ORDINARY: TuningDefaults(
        classifier_share=0.01, mask_share=0.02, clean_share=0.1, clutter=0.25, distractors=1.0, candidates=2
    ),
    GENTLE: TuningDefaults(learning_rate=2e-4),
}


def check_tuning(tuning: str) -> None:
    """Check the name of a tuning.

    Raises:
        ValueError: where it is none of `TUNINGS`.
    """
    if tuning not in TUNINGS:
        raise ValueError(f"`tuning` (={tuning!r}) must be one of {', '.join(TUNINGS)}")


def defaults_of(tuning: str, *, pretrained: bool) -> TuningDefaults:
    """What suits a tuning and a model.

    Args:
        tuning: one of `TUNINGS`.
        pretrained: whether the model knows something; taken for granted by `gentle` and `ordinary`.

    Raises:
        ValueError: where `tuning` is none of them.
    """
    check_tuning(tuning)
    return _OF_KNOWLEDGE[tuning] if pretrained or tuning in OF_PRETRAINED else OF_RANDOM_WEIGHTS
