// A Linux command line as the kernel takes it apart (kernel lib/cmdline.c next_arg, kernel/params.c parse_args).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gatehouse::pipeline {

struct KernelWord {
  std::string name;  // `-` is `_`
  std::string text;  // NAME or NAME=VALUE, without the quotes around a value; "--" ends the parameters
};
// Quotes hold blanks together; 0xA0 is a blank, too.
std::vector<KernelWord> kernel_words(std::string_view line);
// A pattern of such words, its name as the kernel reads it.
std::string kernel_pattern(std::string_view pattern);

}  // namespace gatehouse::pipeline
