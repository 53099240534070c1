"""Networks in ONNX files: read, and run by torch so that they are captured like any module.

| module | content |
|---|---|
| `file` | the file, its stored tensors, and the input of its network |
| `operators` | what each operator of ONNX is in torch |
| `folding` | numbers computed from constants alone, such as shapes |
| `node` | one operator of a file as a torch module |
| `network` | the network of a file as a torch module |
| `graph` | its rows and its graph |
| `probe` | the network in onnxruntime, compared with the table |
"""
