// The same for GoogleTest programs.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common.h"
