"""One file per study: what is trained at each scale, and the tidy frame that comes out."""
