"""What real hardware needs beside pyxrt: locks across processes, files of kernels, the state of the machine."""
