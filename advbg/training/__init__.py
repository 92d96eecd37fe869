"""Training a timm model on a folder of images, with or without the method: what is behind `advbg train`."""
