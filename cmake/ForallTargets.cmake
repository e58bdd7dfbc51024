# forall_cc_library / forall_cc_binary / forall_cc_test / forall_cc_fuzzer: one target per room or
# sub-folder. DEPS is the layer arrow: what is not listed there cannot be included (tools/check_layers).
include(GNUInstallDirs)

set(FORALL_BIN_DIR "${CMAKE_BINARY_DIR}/bin" CACHE PATH "Where programs land")

add_library(forall_build_flags INTERFACE)
target_compile_features(forall_build_flags INTERFACE cxx_std_20)
target_include_directories(forall_build_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
target_compile_options(forall_build_flags INTERFACE
  -Wall -Wextra -Wshadow -Wold-style-cast -Wno-unused-parameter -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(forall_build_flags INTERFACE -Wthread-safety -Werror=thread-safety)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 warns of overlapping copies inside std::string that cannot happen (GCC bug 105651).
  target_compile_options(forall_build_flags INTERFACE -Wno-restrict)
endif()
if(FORALL_WERROR)
  target_compile_options(forall_build_flags INTERFACE -Werror)
endif()
if(FORALL_SANITIZE)
  # Sanitizers change inlining so much that GCC's flow-based warnings (maybe-uninitialized and
  # friends) fire inside third-party headers.
  target_compile_options(forall_build_flags INTERFACE -fsanitize=${FORALL_SANITIZE} -Wno-error)
  target_link_options(forall_build_flags INTERFACE -fsanitize=${FORALL_SANITIZE})
  if(FORALL_SANITIZE MATCHES "undefined")
    target_compile_options(forall_build_flags INTERFACE -fno-sanitize-recover=undefined)
  endif()
endif()
if(FORALL_FUZZERS)
  target_compile_options(forall_build_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_compile_definitions(forall_build_flags INTERFACE FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION)
endif()

if(CMAKE_CXX_CLANG_TIDY)
  # clang-tidy takes the nearest .clang-tidy upwards: generated code in the build tree gets one that asks nothing.
  file(WRITE "${CMAKE_BINARY_DIR}/.clang-tidy" "Checks: '-*,misc-static-assert'\n")
endif()

find_program(FORALL_CCACHE ccache)
if(FORALL_CCACHE AND NOT CMAKE_CXX_CLANG_TIDY)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${FORALL_CCACHE})
endif()

# Groups built by name: every test, what the tsan preset tests, and the libFuzzer programs.
add_custom_target(all_tests)
add_custom_target(thread_tests)
add_custom_target(fuzzers)

# forall_cc_library(NAME n SRCS ... HDRS ... DEPS ... PRIVATE_DEPS ... NUMERIC)
# NUMERIC: loops over millions of numbers or states. Sanitizer builds optimise these too, or their tests take minutes.
function(forall_cc_library)
  cmake_parse_arguments(ARG "NUMERIC" "NAME" "SRCS;HDRS;DEPS;PRIVATE_DEPS" ${ARGN})
  set(target forall_${ARG_NAME})
  if(ARG_SRCS)
    add_library(${target} STATIC ${ARG_SRCS} ${ARG_HDRS})
    target_link_libraries(${target} PUBLIC ${ARG_DEPS} PRIVATE forall_build_flags ${ARG_PRIVATE_DEPS})
    target_compile_features(${target} PUBLIC cxx_std_20)
    target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
    if(ARG_NUMERIC AND FORALL_SANITIZE)
      target_compile_options(${target} PRIVATE -O1)
    endif()
  else()
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE ${ARG_DEPS})
    target_include_directories(${target} INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  endif()
  add_library(forall::${ARG_NAME} ALIAS ${target})
endfunction()

# forall_cc_binary(NAME forall-worker SRCS ... DEPS ...)
function(forall_cc_binary)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_link_libraries(${ARG_NAME} PRIVATE forall_build_flags ${ARG_DEPS})
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${FORALL_BIN_DIR}")
endfunction()

# forall_cc_test(NAME n SRCS ... DEPS ... LABELS unit|integration|e2e|threads|slow PROGRAMS ... ARGS ... TIMEOUT s
#                SHARDS k NUMERIC)
# A sibling unit test by default (label unit). FORALL_SOURCE_DIR and FORALL_BIN_DIR are in its environment.
# PROGRAMS are targets that the test starts out of FORALL_BIN_DIR: they are built with it.
# SHARDS: the cases are run as k tests, n_1 to n_k, side by side.
function(forall_cc_test)
  if(NOT FORALL_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "RUN_SERIAL;NUMERIC" "NAME;TIMEOUT;SHARDS" "SRCS;DEPS;LABELS;ARGS;PROGRAMS" ${ARGN})
  set(target ${ARG_NAME})
  add_executable(${target} ${ARG_SRCS})
  target_link_libraries(${target} PRIVATE forall_build_flags ${ARG_DEPS} GTest::gmock GTest::gtest GTest::gtest_main)
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(FORALL_SANITIZE)  # ten times slower is usual
    math(EXPR ARG_TIMEOUT "5 * ${ARG_TIMEOUT}")
    if(ARG_NUMERIC)
      target_compile_options(${target} PRIVATE -O1)
    endif()
  endif()
  if(ARG_PROGRAMS)
    add_dependencies(${target} ${ARG_PROGRAMS})
  endif()
  if(NOT "slow" IN_LIST ARG_LABELS)
    add_dependencies(all_tests ${target})
  endif()
  if("threads" IN_LIST ARG_LABELS AND NOT "slow" IN_LIST ARG_LABELS)
    add_dependencies(thread_tests ${target})
  endif()
  if(ARG_SHARDS)
    math(EXPR last "${ARG_SHARDS} - 1")
    foreach(shard RANGE ${last})
      math(EXPR number "${shard} + 1")
      forall_add_test(${target}_${number} "GTEST_TOTAL_SHARDS=${ARG_SHARDS};GTEST_SHARD_INDEX=${shard};")
    endforeach()
  else()
    forall_add_test(${target} "")
  endif()
endfunction()

# For forall_cc_test alone, whose target and arguments it takes.
function(forall_add_test name environment)
  add_test(NAME ${name} COMMAND ${target} ${ARG_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
    ENVIRONMENT "${environment}FORALL_SOURCE_DIR=${CMAKE_SOURCE_DIR};FORALL_BIN_DIR=${FORALL_BIN_DIR};ORT_DISABLE_TELEMETRY=1;TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/cmake/tsan.supp halt_on_error=1;LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/cmake/lsan.supp"
    SKIP_REGULAR_EXPRESSION "NO TEST RAN: ")
  if(ARG_RUN_SERIAL)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE)
  endif()
endfunction()

# forall_cc_fuzzer(NAME n SRCS ... DEPS ... CORPUS dir SECONDS s): built with preset `fuzz`; run briefly as a test,
# and for long by tools/fuzz.sh, which finds it in fuzzers.txt: name, program, folder of what was found, corpus.
# New inputs and crashes land in the build tree; CORPUS, relative to the room, is only read.
set(FORALL_FUZZ_SECONDS 20 CACHE STRING "How long each fuzzer runs as a test")
if(FORALL_FUZZERS)
  file(WRITE "${CMAKE_BINARY_DIR}/fuzzers.txt" "")
endif()
function(forall_cc_fuzzer)
  if(NOT FORALL_FUZZERS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "NAME;CORPUS;SECONDS" "SRCS;DEPS" ${ARGN})
  if(NOT ARG_SECONDS)
    set(ARG_SECONDS ${FORALL_FUZZ_SECONDS})
  endif()
  set(found "${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAME}_found")
  file(MAKE_DIRECTORY "${found}")
  if(ARG_CORPUS)
    get_filename_component(ARG_CORPUS "${ARG_CORPUS}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
  endif()
  add_executable(${ARG_NAME} ${ARG_SRCS})
  add_dependencies(fuzzers ${ARG_NAME})
  target_link_libraries(${ARG_NAME} PRIVATE forall_build_flags ${ARG_DEPS} -fsanitize=fuzzer)
  file(APPEND "${CMAKE_BINARY_DIR}/fuzzers.txt"
    "${ARG_NAME} ${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAME} ${found} ${ARG_CORPUS}\n")
  # Always from the same seed: a change is not refused for what another found. tools/fuzz.sh looks further.
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME} -seed=1 -max_total_time=${ARG_SECONDS}
    -rss_limit_mb=1024 -print_final_stats=1 "-artifact_prefix=${found}/" "${found}" ${ARG_CORPUS})
  set_tests_properties(${ARG_NAME} PROPERTIES LABELS "fuzz" TIMEOUT 120)
endfunction()
