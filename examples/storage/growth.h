// Files that a configuration makes, or makes larger: at once and last, or not at all.
//
//   Growth growth;
//   ... open(spec, {.growth = &growth});   // a missing file is made, empty; no size changes
//   ... whatever else may fail
//   growth.apply();                        // now the files have their sizes
//   growth.keep();                         // without it all is undone: made files are removed,
//                                          // larger ones are as large as they were
//
// Thread safety: one thread. It blocks: it changes files. Ownership: keeps the files open until
// keep() or the end.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/storage/descriptor.h"

namespace mrpool::storage {

class Growth {
 public:
  struct File {
    std::string path;
    std::shared_ptr<const Descriptor> fd;
    uint64_t before;  // bytes that it has
    uint64_t bytes;   // bytes that it is to have
    bool made;        // it was not there
  };

  Growth() = default;
  Growth(const Growth&) = delete;
  Growth& operator=(const Growth&) = delete;
  ~Growth();

  void add(File file) { files_.push_back({std::move(file), false}); }
  // The error names the file that cannot be made so large.
  absl::Status apply();
  void keep() { files_.clear(); }
  // Those that it made.
  std::vector<File> made() const;

 private:
  struct Change {
    File file;
    bool applied;
  };
  std::vector<Change> files_;
};

}  // namespace mrpool::storage
