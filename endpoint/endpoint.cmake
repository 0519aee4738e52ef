find_package(PkgConfig REQUIRED)
pkg_check_modules(TSS2 REQUIRED IMPORTED_TARGET GLOBAL tss2-esys tss2-mu tss2-rc tss2-tctildr)
find_package(CLI11 REQUIRED)

# What is installed on this machine, and the log of installs and removals.
add_library(gatehouse_endpoint_inventory STATIC inventory/dpkg.cpp inventory/event_log.cpp inventory/inventory.cpp
  inventory/rpm.cpp inventory/swid_tag.cpp)
target_link_libraries(gatehouse_endpoint_inventory PUBLIC gatehouse_base PRIVATE ${CMAKE_DL_LIBS})

# The client session with its collectors, sans I/O, over whatever TPM implements endpoint/tpm/tpm.h.
add_library(gatehouse_endpoint_session STATIC client/sasl.cpp client/session.cpp client/tnc_client.cpp imc/imc.cpp
  imc/os/os_imc.cpp imc/enrolment/enrolment_imc.cpp imc/os/packages.cpp imc/os/settings.cpp imc/scanner/scanner_imc.cpp imc/swima/installed_software.cpp
  imc/swima/swima_imc.cpp imc/test/test_imc.cpp
  imc/attestation/attestation_imc.cpp imc/attestation/evidence.cpp imc/attestation/files.cpp
  imc/attestation/raw_list.cpp tpm/software.cpp)
target_link_libraries(gatehouse_endpoint_session PUBLIC gatehouse_wire gatehouse_endpoint_inventory
  PRIVATE OpenSSL::Crypto)

# The same over EAP and RADIUS.
add_library(gatehouse_endpoint_eap STATIC client/eap_client.cpp client/radius_gateway.cpp client/radius_link.cpp
  client/tls_tunnel.cpp)
target_link_libraries(gatehouse_endpoint_eap PUBLIC gatehouse_endpoint_session PRIVATE OpenSSL::SSL)

# The TPM 2.0 through tpm2-tss.
add_library(gatehouse_endpoint_tpm STATIC tpm/activation.cpp tpm/esys.cpp)
target_link_libraries(gatehouse_endpoint_tpm PUBLIC gatehouse_wire PRIVATE PkgConfig::TSS2)

# What a service needs around it: signals and file changes, systemd, a configuration file.
add_library(gatehouse_endpoint_service STATIC service/config.cpp service/events.cpp)
target_link_libraries(gatehouse_endpoint_service PUBLIC gatehouse_base CLI11::CLI11)

add_executable(gatehouse-endpoint main.cpp agent.cpp attest.cpp enrol.cpp options.cpp provision.cpp report.cpp run.cpp
  client/transport.cpp)
target_link_libraries(gatehouse-endpoint PRIVATE gatehouse_endpoint_eap gatehouse_endpoint_session gatehouse_endpoint_tpm
  gatehouse_endpoint_service OpenSSL::SSL CLI11::CLI11)
target_compile_definitions(gatehouse-endpoint PRIVATE GATEHOUSE_VERSION="${PROJECT_VERSION}")
foreach(part gatehouse_endpoint_inventory gatehouse_endpoint_session gatehouse_endpoint_eap gatehouse_endpoint_tpm gatehouse_endpoint_service gatehouse-endpoint)
  gatehouse_compile_together(${part})
endforeach()
install(TARGETS gatehouse-endpoint RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT endpoint)
