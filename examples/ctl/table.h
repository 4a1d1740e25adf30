// Tables for people: columns as wide as what is in them, numbers to the right.
//
// Thread safety: distinct objects: safe.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace mrpool::ctl {

class Table {
 public:
  // A heading that begins with '>' has its column to the right.
  explicit Table(std::vector<std::string> headings);
  // As many cells as there are headings. What a daemon's peers chose is made printable.
  void row(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }
  // Each line ends with a line feed; no line ends with blanks.
  std::string text() const;

 private:
  std::vector<std::string> headings_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

// What an answer has at `path`, a key or keys with dots between: texts without quotes, lists with
// commas, "-" where nothing is.
std::string shown(const boost::json::value& value, std::string_view path);
// The number there; zero where none is.
uint64_t number(const boost::json::value& value, std::string_view path);
// The list there; an empty one where none is.
const boost::json::array& list(const boost::json::value& value, std::string_view path);

}  // namespace mrpool::ctl
