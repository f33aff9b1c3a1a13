"""Apply a trained run: predictions for new images, export to ONNX."""
