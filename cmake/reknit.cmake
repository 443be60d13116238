# What every target of the house is built with, and one line for each test.

find_package(PkgConfig REQUIRED)
pkg_check_modules(ZMQ REQUIRED IMPORTED_TARGET libzmq)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(HDF5 REQUIRED IMPORTED_TARGET hdf5)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
find_package(Threads REQUIRED)
find_package(MPI REQUIRED COMPONENTS C)
find_program(PROTOC_C protoc-c REQUIRED)
# The system's, for which packages are installed, and not one of the user's own that stands before.
find_program(REKNIT_PYTHON NAMES python3 HINTS /usr/bin REQUIRED)

# Sums are vectorised at -O3 only; bits must not depend on it (-ffp-contract=off below).
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O3 -g -DNDEBUG")

option(REKNIT_WERROR "Warnings are errors" ON)
option(REKNIT_FUZZ "Build the fuzz targets with libFuzzer (needs clang)" OFF)
set(REKNIT_SANITIZE "" CACHE STRING "Sanitizers for all code: address,undefined or thread")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON) # for clang-tidy

# What of the GPU world is there.  Never a condition of the build: without it REKNIT_GPU is off.
macro(reknit_find_gpu)
    find_package(CUDAToolkit QUIET)
    find_path(REKNIT_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ENV NCCL_HOME
        PATH_SUFFIXES include)
    mark_as_advanced(REKNIT_NCCL_INCLUDE)
    set(cuda "CUDA not found")
    set(nccl "NCCL not found")
    if(CUDAToolkit_FOUND)
        set(cuda "CUDA ${CUDAToolkit_VERSION} found")
    endif()
    if(REKNIT_NCCL_INCLUDE)
        file(STRINGS ${REKNIT_NCCL_INCLUDE}/nccl.h lines
            REGEX "^#define NCCL_(MAJOR|MINOR|PATCH) +[0-9]+")
        string(REGEX REPLACE "[^;0-9]" "" numbers "${lines}")
        string(REPLACE ";" "." version "${numbers}")
        set(nccl "NCCL ${version} found")
    endif()
    set(REKNIT_GPU OFF)
    if(CUDAToolkit_FOUND AND REKNIT_NCCL_INCLUDE)
        set(REKNIT_GPU ON)
        message(STATUS "${cuda}, ${nccl}: collectives/nccl is built")
    else()
        message(STATUS "${cuda}, ${nccl}: collectives/nccl is not built; all else is")
    endif()
endmacro()
reknit_find_gpu()

# reknit_find_cuda_code(VARIABLE): arguments that have nvcc make machine code for the GPUs of data
# centres, and PTX, from which a driver makes that of newer ones.
set(REKNIT_CUDA_CODE "80;90" CACHE STRING "GPU architectures for which kernels are compiled")
function(reknit_find_cuda_code variable)
    set(code "")
    foreach(arch ${REKNIT_CUDA_CODE})
        list(APPEND code -gencode arch=compute_${arch},code=sm_${arch})
    endforeach()
    list(GET REKNIT_CUDA_CODE -1 arch)
    list(APPEND code -gencode arch=compute_${arch},code=compute_${arch})
    set(${variable} ${code} PARENT_SCOPE)
endfunction()

add_library(rk_flags INTERFACE)
target_compile_definitions(rk_flags INTERFACE _GNU_SOURCE)
target_include_directories(rk_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(rk_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion
    -fno-omit-frame-pointer -ffp-contract=off $<$<BOOL:${REKNIT_WERROR}>:-Werror>)
if(REKNIT_SANITIZE)
    target_compile_options(rk_flags INTERFACE
        -fsanitize=${REKNIT_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(rk_flags INTERFACE -fsanitize=${REKNIT_SANITIZE})
endif()
if(REKNIT_FUZZ)
    target_compile_options(rk_flags INTERFACE -fsanitize=fuzzer-no-link)
    target_link_options(rk_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# reknit_library(NAME SOURCES... LINK LIBS...): a static library of one folder.
function(reknit_library name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    add_library(${name} STATIC ${ARG_SOURCES})
    target_link_libraries(${name} PUBLIC ${ARG_LINK} PRIVATE rk_flags)
    target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
endfunction()

# reknit_add_test(NAME COMMAND COMMAND... LABEL L... TIMEOUT S [PROPERTIES P V...]): as add_test,
# with the house's rules.  Sanitized builds run the labels that `kinds` names, as asan.NAME or
# tsan.NAME.  Set properties here and not by set_tests_properties, since the name varies.
function(reknit_add_test name)
    cmake_parse_arguments(ARG "" "TIMEOUT" "COMMAND;LABEL;PROPERTIES" ${ARGN})
    set(environment "UBSAN_OPTIONS=print_stacktrace=1")
    if(REKNIT_SANITIZE)
        set(kinds unit story fuzz asan)
        if(REKNIT_SANITIZE MATCHES thread)
            set(kinds unit story tsan)
        endif()
        set(wanted ${kinds})
        foreach(label ${ARG_LABEL})
            list(REMOVE_ITEM wanted ${label})
        endforeach()
        if("${wanted}" STREQUAL "${kinds}")
            return()
        endif()
        string(REGEX REPLACE "^address.*" "asan" prefix "${REKNIT_SANITIZE}")
        string(REPLACE "thread" "tsan" prefix "${prefix}")
        set(name ${prefix}.${name})
        # Before LLVM 17 and GCC 14 the leak check finds a plug-in's thread locals by a guess at the
        # word before them, and now and then reads address 0x38 (google/sanitizers#1409).  Without
        # the guess it finds them through the thread's own table.
        list(APPEND environment "ASAN_OPTIONS=abort_on_error=1:intercept_tls_get_addr=0"
            "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0"
            "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp")
    endif()
    add_test(NAME ${name} COMMAND ${ARG_COMMAND})
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT ${ARG_TIMEOUT}
        ENVIRONMENT "${environment}" ${ARG_PROPERTIES})
endfunction()

# reknit_test(NAME SOURCES... LINK LIBS... [LABEL unit] [TIMEOUT 120] [ARGS ...]
#             [PROPERTIES P V...]): a cmocka test program.
function(reknit_test name)
    cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;LINK;ARGS;PROPERTIES" ${ARGN})
    if(NOT ARG_LABEL)
        set(ARG_LABEL unit)
    endif()
    if(NOT ARG_TIMEOUT)
        set(ARG_TIMEOUT 120)
    endif()
    if(REKNIT_SANITIZE)
        math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 3")
    endif()
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE ${ARG_LINK} PkgConfig::CMOCKA rk_flags)
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    reknit_add_test(${name} COMMAND ${name} ${ARG_ARGS} LABEL ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT}
        PROPERTIES ${ARG_PROPERTIES})
endfunction()
