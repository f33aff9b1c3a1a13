"""Random changes of images by a seed: of training images in fine-tuning, and of cached views."""
