#include "examples/ctl/table.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "absl/strings/str_cat.h"
#include "examples/base/printable.h"

namespace mrpool::ctl {

namespace json = boost::json;

namespace {

const json::value* find(const json::value& value, std::string_view path) {
  const json::value* at = &value;
  while (!path.empty() && at != nullptr) {
    const size_t dot = path.find('.');
    const json::object* object = at->if_object();
    at = object == nullptr ? nullptr : object->if_contains(path.substr(0, dot));
    path = dot == path.npos ? std::string_view() : path.substr(dot + 1);
  }
  return at;
}

std::string plain(const json::value& value) {
  if (value.is_string()) return std::string(value.as_string());
  if (value.is_bool()) return value.as_bool() ? "yes" : "no";
  const json::array* all = value.if_array();
  if (all == nullptr) return json::serialize(value);
  std::string text;
  for (const json::value& each : *all)
    absl::StrAppend(&text, text.empty() ? "" : ", ", plain(each));
  return text.empty() ? "-" : text;
}

}  // namespace

Table::Table(std::vector<std::string> headings) : headings_(std::move(headings)) {
  for (std::string& heading : headings_) {
    right_.push_back(heading.starts_with('>'));
    if (right_.back()) heading.erase(0, 1);
  }
}

void Table::row(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = base::printable(cell);
  cells.resize(headings_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<size_t> widths;
  for (const std::string& heading : headings_) widths.push_back(heading.size());
  for (const auto& cells : rows_) {
    for (size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], cells[i].size());
  }
  std::string all;
  const auto add = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string blanks(widths[i] - cells[i].size(), ' ');
      absl::StrAppend(&line, i == 0 ? "" : "  ", right_[i] ? blanks : "", cells[i],
                      right_[i] ? "" : blanks);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&all, line, "\n");
  };
  add(headings_);
  for (const auto& cells : rows_) add(cells);
  return all;
}

std::string shown(const json::value& value, std::string_view path) {
  const json::value* at = find(value, path);
  if (at == nullptr || at->is_null()) return "-";
  std::string text = plain(*at);
  return text.empty() ? "-" : text;
}

uint64_t number(const json::value& value, std::string_view path) {
  const json::value* at = find(value, path);
  if (at == nullptr) return 0;
  json::error_code error;
  const auto number = at->to_number<uint64_t>(error);
  return error ? 0 : number;
}

const json::array& list(const json::value& value, std::string_view path) {
  static const json::array kNone;
  const json::value* at = find(value, path);
  return at == nullptr || !at->is_array() ? kNone : at->get_array();
}

}  // namespace mrpool::ctl
