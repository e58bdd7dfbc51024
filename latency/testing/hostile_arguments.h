// SPDX-License-Identifier: Apache-2.0
// Arguments that a shell would do something with if they were not quoted rightly.
#ifndef FORALL_LATENCY_TESTING_HOSTILE_ARGUMENTS_H_
#define FORALL_LATENCY_TESTING_HOSTILE_ARGUMENTS_H_

#include <string>
#include <vector>

namespace forall::testing {

inline std::vector<std::string> HostileArguments() {
  return {"",
          " two  spaces ",
          "it's",
          "''",
          "'; echo gone; '",
          "$HOME",
          "$(echo gone)",
          "`echo gone`",
          "a\nb\n",
          "\ttab\r",
          "back\\slash\\",
          "\"double\"",
          "*",
          "~",
          "!history",
          "#no comment",
          "a;b&c|d<e>f(g)h[i]j{k}",
          "%s%d",
          "\xc3\xa4\xf0\x9f\x98\x80",
          "\xff\x01\x7f",
          "-rf"};
}

}  // namespace forall::testing

#endif  // FORALL_LATENCY_TESTING_HOSTILE_ARGUMENTS_H_
