# Writes OUT, which defines page_files() of page.h: FILES as constants.

set(types
  ".html=text/html; charset=utf-8" ".js=text/javascript; charset=utf-8"
  ".css=text/css; charset=utf-8" ".svg=image/svg+xml" "=text/plain; charset=utf-8")
set(arrays "")
set(table "")
set(number 0)
foreach(file IN LISTS FILES)
  get_filename_component(name ${file} NAME)
  get_filename_component(suffix ${file} LAST_EXT)
  foreach(pair IN LISTS types)
    string(FIND "${pair}" "=" at)
    string(SUBSTRING "${pair}" 0 ${at} of)
    if(of STREQUAL "${suffix}" OR of STREQUAL "")
      math(EXPR after "${at} + 1")
      string(SUBSTRING "${pair}" ${after} -1 type)
      break()
    endif()
  endforeach()
  set(path "/${name}")
  if(name STREQUAL "page.html")
    set(path "/")
  elseif(name STREQUAL "LICENSE")
    set(path "/uPlot.LICENSE")
  endif()
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays "constexpr unsigned char kFile${number}[] = {${bytes}};\n")
  string(APPEND table "    {\"${path}\", \"${type}\", text(kFile${number})},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE ${OUT} "// Made by embed.cmake.
#include <array>
#include <cstddef>

#include \"examples/metrics/page.h\"

namespace mrpool::metrics {
namespace {

${arrays}
template <size_t kSize>
std::string_view text(const unsigned char (&bytes)[kSize]) {
  return {reinterpret_cast<const char*>(bytes), kSize};
}

}  // namespace

std::span<const PageFile> page_files() {
  static const std::array<PageFile, ${number}> files = {{
${table}  }};
  return files;
}

}  // namespace mrpool::metrics
")
