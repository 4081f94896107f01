"""Which session gets which warm pods: claims, the cap, and waiting lists."""
