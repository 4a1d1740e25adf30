// Tables for people: columns as wide as their content, numbers aligned to the right.
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
  // A heading that begins with '>' aligns its column to the right.
  explicit Table(std::vector<std::string> headings);
  // One cell for each heading. Unprintable characters are replaced, because peers may have chosen
  // the text.
  void row(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }
  // Each line ends with a line feed; no line ends with blanks.
  std::string text() const;

 private:
  std::vector<std::string> headings_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

// The value of an answer at `path`, a key or keys separated by dots: texts without quotes, lists
// with commas, "-" if it is missing.
std::string shown(const boost::json::value& value, std::string_view path);
// The number at `path`; zero if it is missing.
uint64_t number(const boost::json::value& value, std::string_view path);
// The list at `path`; an empty one if it is missing.
const boost::json::array& list(const boost::json::value& value, std::string_view path);

}  // namespace mrpool::ctl
