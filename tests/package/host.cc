// Loads a plugin, calls it, unloads it, and does it again.
#include <dlfcn.h>

#include <cstdio>

int main(int argc, char** argv) {
  for (int round = 0; round < 2; ++round) {
    void* const plugin = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (plugin == nullptr) return std::fprintf(stderr, "%s\n", dlerror()), 1;
    const auto call = reinterpret_cast<int (*)()>(dlsym(plugin, "plugin_main"));
    if (call == nullptr || call() != 0) return 1;
    dlclose(plugin);
  }
}
