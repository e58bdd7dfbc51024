# Every third-party dependency is found here and nowhere else. All of them are distribution packages
# (tools/setup.sh installs them) except ONNX Runtime, which is loaded at run time.
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(ZLIB REQUIRED)
# HmacSha256Key begins anew without giving the key again, which did nothing before OpenSSL 3.0.3.
# Training signs nothing. A machine that only trains may lack the images' libraries as well:
# forall-train then reads no image files.
if(FORALL_TRAINER_ONLY)
  find_package(OpenSSL 3.0 REQUIRED)
  find_package(JPEG)
  find_package(PNG)
else()
  find_package(OpenSSL 3.0.3 REQUIRED)
  find_package(JPEG REQUIRED)
  find_package(PNG REQUIRED)
endif()

if(NOT FORALL_TRAINER_ONLY)
  find_package(Protobuf REQUIRED)
  find_package(gRPC CONFIG REQUIRED)
  if(NOT FORALL_WORKER_ONLY)
    find_package(SQLite3 REQUIRED)
    find_package(yaml-cpp REQUIRED)
    find_package(Eigen3 REQUIRED NO_MODULE)
    # Header-only; some distributions package it without a CMake config.
    find_path(FORALL_CLI11_INCLUDE_DIR CLI/CLI.hpp REQUIRED)
    # prometheus-cpp serves the controller's metrics. Its CMake config wants what only its other parts need.
    find_path(FORALL_PROMETHEUS_INCLUDE_DIR prometheus/exposer.h REQUIRED)
    find_library(FORALL_PROMETHEUS_CORE_LIBRARY prometheus-cpp-core REQUIRED)
    find_library(FORALL_PROMETHEUS_PULL_LIBRARY prometheus-cpp-pull REQUIRED)
    add_library(forall_prometheus INTERFACE)
    target_include_directories(forall_prometheus SYSTEM INTERFACE ${FORALL_PROMETHEUS_INCLUDE_DIR})
    target_link_libraries(forall_prometheus INTERFACE
      ${FORALL_PROMETHEUS_PULL_LIBRARY} ${FORALL_PROMETHEUS_CORE_LIBRARY})
    add_library(forall::prometheus ALIAS forall_prometheus)
    # The controller allocates on one thread and frees on another all day, which jemalloc does in less
    # time; sanitizers bring an allocator of their own.
    add_library(forall_allocator INTERFACE)
    find_library(FORALL_JEMALLOC_LIBRARY jemalloc)
    if(FORALL_JEMALLOC_LIBRARY AND NOT FORALL_SANITIZE)
      target_link_libraries(forall_allocator INTERFACE ${FORALL_JEMALLOC_LIBRARY})
    elseif(NOT FORALL_SANITIZE)
      message(STATUS "jemalloc is not installed (libjemalloc-dev): the controller uses the C library's allocator")
    endif()
    add_library(forall::allocator ALIAS forall_allocator)
  endif()
  find_library(FORALL_ONNX_LIBRARY onnx REQUIRED)
  find_library(FORALL_ONNX_PROTO_LIBRARY onnx_proto REQUIRED)
  find_path(FORALL_ONNX_INCLUDE_DIR onnx/onnx_pb.h REQUIRED)
  add_library(forall_onnx_protobuf INTERFACE)
  target_include_directories(forall_onnx_protobuf SYSTEM INTERFACE ${FORALL_ONNX_INCLUDE_DIR})
  target_compile_definitions(forall_onnx_protobuf INTERFACE ONNX_ML=1 ONNX_NAMESPACE=onnx)
  target_link_libraries(forall_onnx_protobuf INTERFACE
    ${FORALL_ONNX_LIBRARY} ${FORALL_ONNX_PROTO_LIBRARY} protobuf::libprotobuf)
  add_library(forall::onnx_protobuf ALIAS forall_onnx_protobuf)

  # ONNX Runtime: only its C header is needed to build; the library is opened at run time.
  # tools/setup.sh leaves both in build/deps/onnxruntime unless the distribution packages them.
  if(NOT "$ENV{ONNXRUNTIME_ROOT}" STREQUAL "${FORALL_ONNXRUNTIME_ROOT}")
    unset(FORALL_ONNXRUNTIME_INCLUDE_DIR CACHE)
    unset(FORALL_ONNXRUNTIME_LIBRARY CACHE)
  endif()
  set(FORALL_ONNXRUNTIME_ROOT "$ENV{ONNXRUNTIME_ROOT}" CACHE INTERNAL "What the library was looked for with")
  set(FORALL_ONNXRUNTIME_HINTS "$ENV{ONNXRUNTIME_ROOT}" "${CMAKE_SOURCE_DIR}/build/deps/onnxruntime")
  find_path(FORALL_ONNXRUNTIME_INCLUDE_DIR onnxruntime_c_api.h
    HINTS ${FORALL_ONNXRUNTIME_HINTS}
    PATH_SUFFIXES include include/onnxruntime include/onnxruntime/core/session onnxruntime
    NO_CMAKE_FIND_ROOT_PATH REQUIRED)
  find_library(FORALL_ONNXRUNTIME_LIBRARY NAMES onnxruntime libonnxruntime.so.1
    HINTS ${FORALL_ONNXRUNTIME_HINTS} PATH_SUFFIXES lib REQUIRED)
  add_library(forall_onnxruntime_headers INTERFACE)
  target_include_directories(forall_onnxruntime_headers SYSTEM INTERFACE ${FORALL_ONNXRUNTIME_INCLUDE_DIR})
  add_library(forall::onnxruntime_headers ALIAS forall_onnxruntime_headers)
endif()

if(FORALL_BUILD_TRAINER)
  find_package(Torch REQUIRED)
endif()
if(FORALL_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
if(FORALL_BUILD_BENCHMARKS AND NOT FORALL_TRAINER_ONLY)
  find_package(benchmark REQUIRED)
endif()
# A second oracle of tests and a peer of benchmarks; programs never link it.
if((FORALL_BUILD_TESTS OR FORALL_BUILD_BENCHMARKS) AND NOT FORALL_TRAINER_ONLY)
  find_package(pagmo QUIET)
  if(NOT pagmo_FOUND)
    message(STATUS "pagmo is not installed (libpagmo-dev): pagmo_oracle_test and `forall-bench pareto` are left out")
  endif()
endif()
