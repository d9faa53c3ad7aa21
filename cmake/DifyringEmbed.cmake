# difyring_embed(ROOM FILE NAME HEADER)   FILE's bytes built into room_ROOM as `const char NAME[]`, with a NUL
#                                         behind them, and `const size_t NAME_size`; HEADER declares them.
#
# This file is also the script that writes the C source: cmake -DIN=... -DOUT=... -DNAME=... -DHEADER=... -P
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ ${IN} bytes HEX)
  # an array, not a string: C compilers need not take strings of more than 4095 characters
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
  string(REGEX REPLACE "(('\\\\x..',){16})" "\\1\n    " bytes "${bytes}")
  file(WRITE ${OUT} "/* Generated from ${NAME}'s source by DifyringEmbed.cmake. */
#include \"${HEADER}\"

const char ${NAME}[] = {
    ${bytes}'\\0',
};
const size_t ${NAME}_size = sizeof(${NAME}) - 1;
")
  return()
endif()

set(DIFYRING_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(difyring_embed room file name header)
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  set(output ${PROJECT_BINARY_DIR}/generated/embed/${name}.c)
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/generated/embed)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DIN=${source} -DOUT=${output} -DNAME=${name} -DHEADER=${header}
      -P ${DIFYRING_EMBED_SCRIPT}
    DEPENDS ${source} ${DIFYRING_EMBED_SCRIPT}
    COMMENT "Embedding ${file}"
    VERBATIM)
  target_sources(room_${room} PRIVATE ${output})
endfunction()
