#!/bin/sh
# Makes SWID tags of this machine's packages for strongSwan's SWIMA collector, which calls it as
#   software-id --regid REGID                                        all identifiers, one a line
#   swid … --regid REGID --doc-separator SEPARATOR                   all tags
#   swid … --regid REGID --software-id ID                            the tag of one identifier
#   swid … --regid REGID --name PACKAGE --version-string VERSION     the tag of one package
command=$1 platform='Debian_12-x86_64' entity='' regid='' id='' name='' version=''
shift
while [ $# -gt 0 ]; do
  case $1 in
    --entity-name) entity=$2; shift;;
    --regid) regid=$2; shift;;
    --software-id) id=$2; shift;;
    --name) name=$2; shift;;
    --version-string) version=$2; shift;;
    --doc-separator) shift;;
  esac
  shift
done
packages() {  # "NAME VERSION", those installed
  if [ -n "$name" ]; then
    echo "$name $version"
  else
    dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' | sed -n 's/^installed //p'
  fi
}
identified() {  # "TAGID NAME VERSION"; what isn't of an identifier's characters is ~ there
  packages | awk -v platform="$platform" -v regid="$regid" -v id="$id" '{
    tag = $1 "-" $2
    gsub(/[^A-Za-z0-9._~-]/, "~", tag)
    tag = platform "-" tag
    if (id == "" || id == regid "__" tag) print tag, $1, $2
  }'
}
case $command in
  software-id) identified | sed "s/ .*//; s/^/${regid}__/";;
  swid)
    identified | awk -v entity="$entity" -v regid="$regid" '{
      printf "<?xml version=\"1.0\" encoding=\"utf-8\"?>"
      printf "<SoftwareIdentity xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\" "
      printf "name=\"%s\" tagId=\"%s\" version=\"%s\" versionScheme=\"alphanumeric\">", $2, $1, $3
      printf "<Entity name=\"%s\" regid=\"%s\" role=\"tagCreator\"/></SoftwareIdentity>\n\n", entity, regid
    }';;
esac
