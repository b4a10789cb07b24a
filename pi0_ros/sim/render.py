"""Pictures of the simulated cameras through EGL, without a display."""

from __future__ import annotations

import mujoco
import numpy as np

from pi0_ros.sim.errors import SimError

_MISSING_EGL = (
    "EGL cannot be used to draw the simulated cameras; install it: apt-get install -y libegl1 libgl1-mesa-dri"
)


class Renderer:
    """Draws square pictures of one model's cameras. Belongs to the thread that made it, as any OpenGL context does."""

    def __init__(self, model: mujoco.MjModel, size: int = 224) -> None:
        """Make the context for pictures up to size x size. Raises SimError when EGL is missing."""
        self._model = model
        self.size = size
        model.vis.global_.offwidth = model.vis.global_.offheight = size
        try:
            from mujoco.egl import GLContext

            self._gl = GLContext(size, size)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except (ImportError, AttributeError, RuntimeError, OSError, mujoco.FatalError) as problem:
            raise SimError(f"{_MISSING_EGL} ({problem})") from problem
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + 8)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_SKYBOX,
                     mujoco.mjtRndFlag.mjRND_HAZE):  # fmt: skip
            self._scene.flags[flag] = 0
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._perturb = mujoco.MjvPerturb()

    def draw(self, data: mujoco.MjData, camera: str, size: int) -> np.ndarray:
        """The camera's picture: uint8 [size, size, 3], RGB, first row at the top. `size` is at most self.size."""
        self._gl.make_current()
        self._camera.fixedcamid = self._model.camera(camera).id
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, data, self._option, self._perturb, self._camera, everything, self._scene)
        view = mujoco.MjrRect(0, 0, size, size)
        mujoco.mjr_render(view, self._scene, self._context)
        upside_down = np.empty((size, size, 3), np.uint8)
        mujoco.mjr_readPixels(upside_down, None, view, self._context)
        return np.ascontiguousarray(upside_down[::-1])

    def close(self) -> None:
        """Free the context."""
        self._context.free()
        self._gl.free()
