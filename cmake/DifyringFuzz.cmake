# difyring_fuzz_target(NAME [ROOMS room_a ...] [SEEDS dir ...])   one fuzz target tests/fuzz/fuzz_NAME.c
#
# Always: replay_NAME runs tests/fuzz/corpus/NAME (and the SEEDS directories) once, as the ctest
# fuzz.NAME. With -DDIFYRING_FUZZ=ON (clang): also fuzz_NAME, a libFuzzer program, with all our rooms
# instrumented for coverage:
#   CC=clang cmake -S . -B build/fuzz -G Ninja -DDIFYRING_FUZZ=ON -DDIFYRING_SANITIZE=address,undefined
#   build/fuzz/tests/fuzz_NAME NEW_INPUTS tests/fuzz/corpus/NAME -max_total_time=300
if(DIFYRING_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "DIFYRING_FUZZ needs clang: run cmake with CC=clang and a fresh build folder")
  endif()
  # no-link: coverage counters in every room, but libFuzzer's main() only in the targets below
  target_compile_options(difyring_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(difyring_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(difyring_fuzz_target name)
  cmake_parse_arguments(FUZZ "" "" "ROOMS;SEEDS" ${ARGN})
  set(source ${PROJECT_SOURCE_DIR}/tests/fuzz/fuzz_${name}.c)
  list(TRANSFORM FUZZ_SEEDS PREPEND ${PROJECT_SOURCE_DIR}/)

  add_executable(replay_${name} ${source} ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.c)
  target_link_libraries(replay_${name} PRIVATE difyring_flags ${FUZZ_ROOMS})
  add_test(NAME fuzz.${name}
    COMMAND replay_${name} ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name} ${FUZZ_SEEDS})

  if(DIFYRING_FUZZ)
    add_executable(fuzz_${name} ${source})
    target_link_libraries(fuzz_${name} PRIVATE difyring_flags ${FUZZ_ROOMS})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  endif()
endfunction()
