// No code: the objects of this folder say only where their functions are (CMakeLists.txt).
