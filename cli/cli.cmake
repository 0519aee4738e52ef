# Each subcommand's file, and the libraries that come with it.
set(commands
  "eventlog:gatehouse_replay"
  "ima:gatehouse_replay"
  "verify:gatehouse_graph gatehouse_policy gatehouse_kept_evidence gatehouse_refdb_store"
  "refdb:gatehouse_refdb_explain gatehouse_refdb_ingest gatehouse_refdb_store"
  "serve:gatehouse_tls gatehouse_config gatehouse_refdb_store"
  "device:gatehouse_state gatehouse_control gatehouse_config gatehouse_refdb_ingest gatehouse_kept_evidence gatehouse_replay gatehouse_refdb_store"
  "session:gatehouse_state gatehouse_control gatehouse_config gatehouse_results gatehouse_kept_evidence gatehouse_refdb_store"
  "audit:gatehouse_state gatehouse_control gatehouse_config"
  "backup:gatehouse_state gatehouse_control gatehouse_config"
  "top:gatehouse_control gatehouse_config"
  "user:gatehouse_state"
  "radius:gatehouse_control gatehouse_config"
  "policy:gatehouse_policy gatehouse_state gatehouse_control gatehouse_config gatehouse_kept_evidence gatehouse_refdb_store gatehouse_refdb_ingest"
  "capacity:gatehouse_tls gatehouse_config gatehouse_control gatehouse_refdb_store gatehouse_fleet_endpoints"
  "trace:gatehouse_trace gatehouse_refdb_store gatehouse_control gatehouse_config"
)
add_executable(gatehouse main.cpp)
target_link_libraries(gatehouse PRIVATE gatehouse_flags gatehouse_base Boost::json CLI11::CLI11)
target_compile_definitions(gatehouse PRIVATE GATEHOUSE_VERSION="${PROJECT_VERSION}")
foreach(command ${commands})
  string(REGEX MATCH "^([a-z]+):(.*)$" _ ${command})
  set(name ${CMAKE_MATCH_1})
  string(REPLACE " " ";" libraries "${CMAKE_MATCH_2}")
  set(complete ${GATEHOUSE_SERVER})
  foreach(library ${libraries})
    if(NOT TARGET ${library})
      set(complete OFF)
    endif()
  endforeach()
  if(complete AND EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${name}.cpp)
    string(TOUPPER ${name} upper)
    target_sources(gatehouse PRIVATE ${name}.cpp)
    target_compile_definitions(gatehouse PRIVATE GATEHOUSE_CLI_${upper})
    target_link_libraries(gatehouse PRIVATE ${libraries})
  endif()
endforeach()
if(TARGET gatehouse_refdb_explain)
  target_sources(gatehouse PRIVATE refdb_products.cpp)
endif()
# Subcommands of refdb with a file of their own.
if(TARGET gatehouse_refdb_ingest AND TARGET gatehouse_refdb_store)
  target_sources(gatehouse PRIVATE refdb_transfer.cpp)
endif()
if(TARGET gatehouse_fleet_endpoints)
  target_sources(gatehouse PRIVATE capacity_measure.cpp)
endif()
# What judges kept evidence again.
if(TARGET gatehouse_kept_evidence AND TARGET gatehouse_control AND TARGET gatehouse_refdb_store)
  target_sources(gatehouse PRIVATE kept.cpp session_why.cpp)
endif()
# Of device, with files of their own; what its differences mean is read from kept evidence.
if(TARGET gatehouse_control AND TARGET gatehouse_config AND TARGET gatehouse_kept_evidence AND TARGET gatehouse_refdb_ingest)
  target_sources(gatehouse PRIVATE baseline_words.cpp device_enrol.cpp device_life.cpp)
endif()
if(TARGET gatehouse_policy AND TARGET gatehouse_refdb_ingest)
  target_sources(gatehouse PRIVATE policy_import.cpp)
endif()
# What device and session share: the way to a state directory.
if(TARGET gatehouse_control AND TARGET gatehouse_config)
  target_sources(gatehouse PRIVATE state_access.cpp)
endif()
gatehouse_compile_together(gatehouse APART capacity.cpp device_enrol.cpp policy_import.cpp refdb_transfer.cpp session_why.cpp)
install(TARGETS gatehouse RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT server)
