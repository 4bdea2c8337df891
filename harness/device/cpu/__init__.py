"""The backend over this machine's processor.

In: kernel specs, and the C++ beside them. Out: a backend that runs each column on a thread of its
own, in real time.
"""
