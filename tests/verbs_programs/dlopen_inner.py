"""Opens a verbs library by dlopen() and asks the handle for symbols; by drop_in_test.py.

    dlopen_inner.py LIBRARY < SYMBOLS

SYMBOLS has lines NAME VERSION OBJECT: the object that must define the symbol. Prints the devices, then
each symbol that is missing or another object's.
"""
import _ctypes
import ctypes
import os
import sys


class DlInfo(ctypes.Structure):
    _fields_ = [("file", ctypes.c_char_p), ("base", ctypes.c_void_p),
                ("name", ctypes.c_char_p), ("address", ctypes.c_void_p)]


C_LIBRARY = ctypes.CDLL(None)
C_LIBRARY.dlvsym.restype = ctypes.c_void_p
C_LIBRARY.dlvsym.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
C_LIBRARY.dladdr.argtypes = [ctypes.c_void_p, ctypes.POINTER(DlInfo)]


def devices(library):
    """The names of the devices, each of which can be opened."""
    library.ibv_get_device_list.restype = ctypes.POINTER(ctypes.c_void_p)
    library.ibv_get_device_name.restype = ctypes.c_char_p
    library.ibv_get_device_name.argtypes = [ctypes.c_void_p]
    library.ibv_open_device.restype = ctypes.c_void_p
    library.ibv_open_device.argtypes = [ctypes.c_void_p]
    library.ibv_close_device.argtypes = [ctypes.c_void_p]
    count = ctypes.c_int()
    found = library.ibv_get_device_list(ctypes.byref(count))
    for i in range(count.value):
        context = library.ibv_open_device(found[i])
        assert context and library.ibv_close_device(context) == 0
        yield library.ibv_get_device_name(found[i]).decode()


def definer(library, name, version):
    """The file that defines what the handle finds."""
    address = C_LIBRARY.dlvsym(library._handle, name.encode(), version.encode())
    info = DlInfo()
    if not address or not C_LIBRARY.dladdr(address, ctypes.byref(info)):
        return "no object"
    return os.path.realpath(info.file.decode())


def main():
    name = sys.argv[1]
    library = ctypes.CDLL(name)
    print(*devices(library))
    for line in sys.stdin:
        symbol, version, wanted = line.split()
        found = definer(library, symbol, version)
        if found != wanted:
            print(f"{symbol}@{version} is in {found}, not in {wanted}")
    # A program may close what it has opened, and open it again.
    _ctypes.dlclose(library._handle)
    print(*devices(ctypes.CDLL(name)))


main()
