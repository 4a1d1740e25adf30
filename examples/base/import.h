// A JSON file that another program wrote for itself, read key by key, with notes about it.
//
// Other programs' files have keys that mean nothing here, keys of versions to come, and numbers
// written as strings. So nothing that is not understood is an error by itself: it becomes a note
// with its place. A value of a kind that cannot be is an error: the first is kept.
//
// Thread safety: distinct objects: safe. Ownership: the JSON must outlive its readers, and the log
// too.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "examples/base/json_text.h"

namespace mrpool::base {

// A difference from the file.
struct ImportNote {
  enum class Weight : uint8_t {
    kMinor,  // nobody has to do anything: another name, a limit, a hint
    kLost,   // something is not served, or not as it was
    kWider,  // more would be let in, or let do more, than the file says
  };
  Weight weight = Weight::kMinor;
  std::string text;  // "line 7: ports[0].addr.trtype: ..."
};
using ImportWeight = ImportNote::Weight;

class ImportLog {
 public:
  explicit ImportLog(const JsonText& text) : lines_(text.lines) {}

  void note(ImportWeight weight, std::string_view path, std::string_view what);
  void fail(std::string_view path, std::string_view what);
  // Of a missing key: where the object that should have it begins.
  uint32_t line(std::string_view path) const;
  std::string place(std::string_view path) const;  // with the line
  const absl::Status& status() const { return status_; }
  std::vector<ImportNote> take_notes() { return std::move(notes_); }

 private:
  const JsonLines& lines_;
  std::vector<ImportNote> notes_;
  absl::Status status_;
};

class ImportObject {
 public:
  ImportObject(const boost::json::object& object, std::string path, ImportLog& log);

  const std::string& path() const { return path_; }
  std::string path(std::string_view key) const;
  uint32_t line() const { return log_.line(path_); }
  bool has(std::string_view key) const { return object_.contains(key); }

  // A number is its digits, true is "1"; null counts as a missing key.
  std::string text(std::string_view key, std::string otherwise = {});
  // Or a text of digits.
  uint64_t number(std::string_view key, uint64_t otherwise, uint64_t most);
  // Or 0, 1, "0", "1", "Yes", "No".
  bool flag(std::string_view key, bool otherwise);
  std::vector<std::string> texts(std::string_view key);
  // Calls `read(ImportObject&)` with what is there, and finishes it.
  template <typename Read>
  void object(std::string_view key, const Read& read) {
    if (const boost::json::object* found = object_at(key)) enter(*found, path(key), read);
  }
  template <typename Read>
  void objects(std::string_view key, const Read& read) {
    const boost::json::array* list = array_at(key);
    for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
      const std::string at = path(key) + "[" + std::to_string(i) + "]";
      const boost::json::object* member = (*list)[i].if_object();
      if (member == nullptr) return log_.fail(at, "must be an object");
      enter(*member, at, read);
    }
  }
  // A key whose value is as it is almost everywhere, or else worth a note.
  struct Usual {
    std::string_view key;
    std::string_view values;  // "0|-1"; empty: whatever it is
    ImportWeight weight;
    std::string_view what;  // of any other value
  };
  void usual(std::span<const Usual> keys);
  // Keys that mean nothing to any program but the one that wrote them.
  void known(std::initializer_list<std::string_view> keys);
  void note(ImportWeight weight, std::string_view key, std::string_view what) {
    log_.note(weight, path(key), what);
  }
  void fail(std::string_view key, std::string_view what) { log_.fail(path(key), what); }
  // Notes the keys that nobody asked for.
  void finish();

 private:
  template <typename Read>
  void enter(const boost::json::object& object, std::string at, const Read& read) {
    ImportObject reader(object, std::move(at), log_);
    read(reader);
    reader.finish();
  }
  const boost::json::value* find(std::string_view key);
  const boost::json::object* object_at(std::string_view key);
  const boost::json::array* array_at(std::string_view key);
  std::string text_of(const boost::json::value& value, std::string_view at);

  const boost::json::object& object_;
  const std::string path_;
  ImportLog& log_;
  std::vector<std::string_view> known_;
};

}  // namespace mrpool::base
