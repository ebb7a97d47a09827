ip netns add batch
