// No code: the shared objects of this folder only name the library that has their functions
// (CMakeLists.txt).
