"""A trained network as a file of another program: ONNX, torch.export, safetensors."""
