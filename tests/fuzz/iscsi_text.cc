// iSCSI key=value text: the pairs lie inside the text, have the form the grammar asks for, and
// survive being written again.
#include "examples/protocol/iscsi/text.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = mrpool::fuzz::text_of(data, size);
  const auto pairs = mrpool::iscsi::parse_text(text);
  if (!pairs) return 0;
  mrpool::iscsi::TextWriter writer;
  for (const auto& [key, value] : *pairs) {
    FUZZ_CHECK(!key.empty() && key.size() <= 63);
    FUZZ_CHECK(key.data() >= text.data() && key.data() + key.size() <= text.data() + text.size());
    FUZZ_CHECK(value.empty() || (value.data() >= text.data() &&
                                 value.data() + value.size() <= text.data() + text.size()));
    mrpool::iscsi::parse_number(value);
    mrpool::iscsi::parse_binary(value);
    writer.add(key, value);
  }
  const std::string again = writer.take();
  const auto reread = mrpool::iscsi::parse_text(again);
  FUZZ_CHECK(reread && reread->size() == pairs->size());
  for (size_t i = 0; i < pairs->size(); ++i) {
    FUZZ_CHECK((*reread)[i].key == (*pairs)[i].key && (*reread)[i].value == (*pairs)[i].value);
  }
  return 0;
}
