# difyring_room(NAME SOURCES ... [DEPS ...])   one room = one static library named room_NAME
# difyring_unit_test(NAME [ROOMS ...])         one cmocka program tests/unit/test_NAME.c, run by ctest

include(CheckCCompilerFlag)

set(DIFYRING_WARNINGS
  -Wall -Wextra -Wpedantic -Werror -Wshadow -Wconversion -Wsign-conversion -Wcast-qual
  -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wswitch-enum -Wnull-dereference -Wundef)

# Flags for our own code only: headers of libraries come in as SYSTEM.
add_library(difyring_flags INTERFACE)
target_compile_options(difyring_flags INTERFACE ${DIFYRING_WARNINGS} -fno-common -fvisibility=hidden)
target_compile_definitions(difyring_flags INTERFACE _GNU_SOURCE DIFYRING_VERSION="${PROJECT_VERSION}")
target_include_directories(difyring_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/node)

# Asserts stay on in every build (STYLE: what only our own bug can cause is an assert).
foreach(config RELEASE RELWITHDEBINFO MINSIZEREL)
  string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_${config} "${CMAKE_C_FLAGS_${config}}")
endforeach()

if(DIFYRING_SANITIZE)
  target_compile_options(difyring_flags INTERFACE
    -fsanitize=${DIFYRING_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(difyring_flags INTERFACE -fsanitize=${DIFYRING_SANITIZE})
elseif(CMAKE_BUILD_TYPE MATCHES "^Rel")
  target_compile_options(difyring_flags INTERFACE
    -fstack-protector-strong -fstack-clash-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fPIE)
  target_link_options(difyring_flags INTERFACE -pie -Wl,-z,relro,-z,now)
  # For the rooms; 3 % of a request's CPU. Every call into a library is resolved at start (now), so a
  # PLT is of no use. What the warnings named here see hangs on how much is inlined: at -O2, in the
  # tests, they are errors.
  set(DIFYRING_FAST -O3 -fno-plt -Wno-error=null-dereference -Wno-error=nonnull
    -Wno-error=maybe-uninitialized -Wno-error=stringop-overflow -Wno-error=array-bounds)
  # Clearing a few words by `rep stos`, as GCC would, takes longer than all the stores.
  check_c_compiler_flag(-mmemset-strategy=unrolled_loop:256:noalign,libcall:-1:noalign
    DIFYRING_HAS_MEMSET_STRATEGY)
  if(DIFYRING_HAS_MEMSET_STRATEGY)
    list(APPEND DIFYRING_FAST
      -mmemset-strategy=unrolled_loop:256:noalign,libcall:-1:noalign)
  endif()
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # The program alone is linked as one unit; the tests' many links stay short, for which each object also
    # has machine code. Without tests nobody would use that code: a third of the build's time.
    if(DIFYRING_TESTS)
      list(APPEND DIFYRING_FAST -flto=auto -ffat-lto-objects)
    else()
      list(APPEND DIFYRING_FAST -flto=auto -fno-fat-lto-objects)
      # An archive of such objects needs an index that only the compiler's own ar can make.
      if(CMAKE_C_COMPILER_AR AND CMAKE_C_COMPILER_RANLIB)
        set(CMAKE_AR ${CMAKE_C_COMPILER_AR})
        set(CMAKE_RANLIB ${CMAKE_C_COMPILER_RANLIB})
      endif()
    endif()
    target_link_options(difyring_flags INTERFACE
      $<IF:$<BOOL:$<TARGET_PROPERTY:DIFYRING_WHOLE>>,-flto=auto;-O3;-Wno-error,-fno-lto>)
  endif()
endif()

function(difyring_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;DEPS" ${ARGN})
  add_library(room_${name} STATIC ${ROOM_SOURCES})
  target_link_libraries(room_${name} PUBLIC difyring_flags ${ROOM_DEPS})
  target_compile_options(room_${name} PRIVATE ${DIFYRING_FAST})
endfunction()

function(difyring_unit_test name)
  cmake_parse_arguments(TEST "" "" "ROOMS" ${ARGN})
  add_executable(test_${name} ${PROJECT_SOURCE_DIR}/tests/unit/test_${name}.c)
  target_link_libraries(test_${name} PRIVATE ${TEST_ROOMS} PkgConfig::CMOCKA)
  add_test(NAME unit.${name} COMMAND test_${name})
endfunction()
