"""Apart from the worker's module, since decoding processes import a main module that is no `__main__`, and all that it needs."""

from compressor.worker import main

main()
