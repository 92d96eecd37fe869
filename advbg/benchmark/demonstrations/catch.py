"""A small game seen in pixels: a paddle catches balls that fall, before a black studio or any other scene."""

from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation
from skimage.morphology import disk

try:
    import gymnasium
except ImportError as error:
    raise ImportError("the game `Catch` needs Gymnasium: pip install advbg[demonstrations]") from error

SIZE = 32
LEFT, STAY, RIGHT = ACTIONS = range(3)

_PADDLE_ROW = SIZE - 3
_FIRST_BALL_ROW = 3
_BALL_STEP, _PADDLE_STEP = 3, 4
# The largest distance in columns between ball and paddle at which the ball is caught.
_REACH = 5
_RIM = 2
_BALL = np.pad(disk(3), _RIM)
_PADDLE = np.pad(np.ones((4, 9), dtype=np.uint8), _RIM)
_BALL_WITH_RIM, _PADDLE_WITH_RIM = (
    binary_dilation(picture, disk(_RIM)).astype(np.uint8) for picture in (_BALL, _PADDLE)
)
# Around the picture, for what is partly outside.
_MARGIN = 10


class Catch(gymnasium.Env[np.ndarray, np.int64]):
    """Balls fall one after the other at random columns; a return is the share of them that the paddle catches.

    Observations are grey pixels of shape (1, 32, 32), uint8: a white ball and a white paddle, each with a black rim of
    2 pixels, so that they can be seen before any scene. One picture tells all, since the balls fall straight. Actions
    are `LEFT` (0), `STAY` (1) and `RIGHT` (2). `info["mask"]` says where ball and paddle are with their rims, as bool
    of shape (32, 32): all other pixels are the scene's.

    Args:
        balls: in an episode.
        scene: what is behind: grey values in [0, 1] of shape (32, 32), or None for black.

    Attributes:
        balls: in an episode.
        steps_per_ball: steps that each of them takes to fall.

    Raises:
        ValueError: where an argument is out of range or of another shape.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  Gymnasium's own annotation has no ClassVar

    steps_per_ball = -(-(_PADDLE_ROW - 2 - _FIRST_BALL_ROW) // _BALL_STEP)

    def __init__(self, balls: int = 5, scene: np.ndarray | None = None) -> None:
        if balls < 1:
            raise ValueError(f"`balls` (={balls}) must be 1 or more")
        self.balls = balls
        self.observation_space = gymnasium.spaces.Box(0, 255, (1, SIZE, SIZE), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(len(ACTIONS))
        self.set_scene(scene)

    def set_scene(self, scene: np.ndarray | None) -> None:
        """Change what is behind ball and paddle; see the argument `scene`."""
        scene = np.zeros((SIZE, SIZE)) if scene is None else scene
        if scene.shape != (SIZE, SIZE):
            raise ValueError(f"`scene` has shape {scene.shape}, expected {(SIZE, SIZE)}")
        if not (scene.min() >= 0 and scene.max() <= 1):
            raise ValueError(f"`scene` has values from {scene.min()} to {scene.max()}, expected [0, 1]")
        self._scene = np.round(255 * scene).astype(np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode with the paddle at a random place."""
        super().reset(seed=seed, options=options)
        self._paddle = int(self.np_random.integers(SIZE))
        self._fallen = 0
        self._throw()
        return self._observe()

    def step(self, action: np.int64 | int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move the paddle, then the ball; the reward is 1 / `balls` for one that is caught."""
        self._paddle = int(np.clip(self._paddle + _PADDLE_STEP * (int(action) - STAY), 0, SIZE - 1))
        self._row += _BALL_STEP
        reward = 0.0
        if self._row >= _PADDLE_ROW - 2:
            reward = float(abs(self._column - self._paddle) <= _REACH) / self.balls
            self._fallen += 1
            self._throw()
        observation, info = self._observe()
        return observation, reward, self._fallen == self.balls, False, info

    def _throw(self) -> None:
        self._row, self._column = _FIRST_BALL_ROW, int(self.np_random.integers(_REACH, SIZE - _REACH))

    def _observe(self) -> tuple[np.ndarray, dict[str, Any]]:
        objects, mask = np.zeros((2, SIZE + 2 * _MARGIN, SIZE + 2 * _MARGIN), dtype=np.uint8)
        for picture, with_rim, row, column in (
            (_BALL, _BALL_WITH_RIM, self._row, self._column),
            (_PADDLE, _PADDLE_WITH_RIM, _PADDLE_ROW, self._paddle),
        ):
            top, left = (_MARGIN + place - side // 2 for place, side in zip((row, column), picture.shape, strict=True))
            window = slice(top, top + picture.shape[0]), slice(left, left + picture.shape[1])
            objects[window] |= picture
            mask[window] |= with_rim
        inside = slice(_MARGIN, -_MARGIN)
        mask = mask[inside, inside].astype(bool)
        return np.where(mask, 255 * objects[inside, inside], self._scene)[None], {"mask": mask}
