// A plugin that contains the library: what its host calls.
int consumer_main();

extern "C" [[gnu::visibility("default")]] int plugin_main() { return consumer_main(); }
