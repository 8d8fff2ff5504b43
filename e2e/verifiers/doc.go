// Package verifiers lets the verifiers that people run judge our identity
// documents: HashiCorp Vault's EC2 login, step-ca's AWS provisioner and
// smallstep's pkcs7, none of them changed. They bring hundreds of modules, and
// have the metadata service's address built in: they are a module of their own,
// and run in a network namespace of their own.
package verifiers
