# Toolchain of preset aarch64: Debian's cross compiler, and the arm64 libraries that
# `tools/setup.sh --aarch64` unpacks into build/deps/sysroot-aarch64. What is built runs on any
# ARMv8-A processor.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
get_filename_component(CMAKE_SYSROOT "${CMAKE_CURRENT_LIST_DIR}/../build/deps/sysroot-aarch64" ABSOLUTE)
if(NOT EXISTS "${CMAKE_SYSROOT}/STAMP")
  message(FATAL_ERROR "${CMAKE_SYSROOT} is missing: run tools/setup.sh --aarch64")
endif()
# Libraries found through pkg-config, too, are the board's.
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${CMAKE_SYSROOT}")
set(ENV{PKG_CONFIG_LIBDIR} "${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig")
# Programs, such as the code generators, are this machine's; everything else is the board's.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
