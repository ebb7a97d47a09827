ip netns add theirs
