"""``make demo``: the main job from the first plan to nothing left, in a private host."""
