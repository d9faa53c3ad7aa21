# difyring_proto(NAME)   proto/NAME.proto as C, part of room_proto: #include "proto/NAME.pb-c.h"
#
# Call it from proto/CMakeLists.txt only. The code is generated below the build folder, and what
# protobuf-c writes is not held to our warnings: the room does not take difyring_flags, and its
# headers come in as SYSTEM.
function(difyring_proto name)
  set(source ${PROJECT_SOURCE_DIR}/proto/${name}.proto)
  set(folder ${PROJECT_BINARY_DIR}/generated/proto)
  file(MAKE_DIRECTORY ${folder})
  add_custom_command(
    OUTPUT ${folder}/${name}.pb-c.c ${folder}/${name}.pb-c.h
    COMMAND ${PROTOC_C} --c_out=${folder} --proto_path=${PROJECT_SOURCE_DIR}/proto ${source}
    DEPENDS ${source} ${PROTOC_C}
    COMMENT "Generating proto/${name}.pb-c.[ch]"
    VERBATIM)
  if(NOT TARGET room_proto)
    add_library(room_proto STATIC)
    target_include_directories(room_proto SYSTEM PUBLIC ${PROJECT_BINARY_DIR}/generated)
    target_link_libraries(room_proto PUBLIC PkgConfig::PROTOBUF_C)
    # Our programs are linked as position-independent ones.
    set_target_properties(room_proto PROPERTIES POSITION_INDEPENDENT_CODE ON)
  endif()
  target_sources(room_proto PRIVATE ${folder}/${name}.pb-c.c ${folder}/${name}.pb-c.h)
endfunction()
