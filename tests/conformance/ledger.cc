#include "tests/conformance/ledger.h"

#include <fnmatch.h>

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace mrpool::conformance {

absl::StatusOr<Ledger> Ledger::read(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read the ledger ", path));
  Ledger ledger;
  std::string text;
  for (int number = 1; std::getline(file, text); ++number) {
    std::istringstream words(text.substr(0, text.find('#')));
    Line line;
    if (!(words >> line.device)) continue;
    words >> line.test >> std::ws;
    std::getline(words, line.reason);
    if (line.reason.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", number, ": a skipped test needs a reason: DEVICE TEST reason"));
    }
    ledger.lines_.push_back(line);
  }
  return ledger;
}

const std::string* Ledger::find(std::string_view device, std::string_view test) const {
  for (const Line& line : lines_) {
    if (::fnmatch(line.device.c_str(), std::string(device).c_str(), 0) == 0 &&
        ::fnmatch(line.test.c_str(), std::string(test).c_str(), 0) == 0) {
      return &line.reason;
    }
  }
  return nullptr;
}

}  // namespace mrpool::conformance
