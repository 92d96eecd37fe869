"""An example plugin of advbg: Perlin noise as backgrounds, and a task of its own."""
