// Errors of the C interface: negative errno values, and the text of the last one of a thread.
//
// Thread safety: any thread; each has its own text.
#pragma once

#include <cerrno>
#include <exception>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "mrpool/work.h"

namespace mrpool::c {

// Keeps the text for mrpool_error() and returns -error.
int failed(int error, absl::string_view text);
int failed(const absl::Status& status);
// -EINVAL: an argument that is required is NULL.
int is_null(const char* argument);

// What a post's answer is in C. It leaves the text as it is.
int post_error(PostStatus status);

// Runs a set-up call: no exception leaves the library.
template <typename Call>
int guarded(Call&& call) noexcept {
  try {
    return std::forward<Call>(call)();
  } catch (const std::bad_alloc&) {
    return failed(ENOMEM, "out of memory");
  } catch (const std::exception& exception) {
    return failed(EIO, exception.what());
  }
}

}  // namespace mrpool::c
