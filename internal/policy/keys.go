package policy

// Condition keys of EC2 that the control plane fills in, in the form that
// Context has them: lower case. A requested value is there only if the request
// gives it; a current one is the instance's before the call.
const (
	// Of the instance, together with its resource only: requested at
	// RunInstances, current at every other action (POL-KEY-01).
	KeyEC2MetadataHTTPTokens              = "ec2:metadatahttptokens"
	KeyEC2MetadataHTTPEndpoint            = "ec2:metadatahttpendpoint"
	KeyEC2MetadataHTTPPutResponseHopLimit = "ec2:metadatahttpputresponsehoplimit"
	KeyEC2InstanceMetadataTags            = "ec2:instancemetadatatags"

	// Requested at ModifyInstanceMetadataOptions and
	// ModifyInstanceMetadataDefaults (POL-KEY-02). The prefix goes before the
	// name of any other attribute, in lower case.
	KeyEC2AttributePrefix                  = "ec2:attribute/"
	KeyEC2AttributeHTTPTokens              = KeyEC2AttributePrefix + "httptokens"
	KeyEC2AttributeHTTPEndpoint            = KeyEC2AttributePrefix + "httpendpoint"
	KeyEC2AttributeHTTPPutResponseHopLimit = KeyEC2AttributePrefix + "httpputresponsehoplimit"
	KeyEC2AttributeInstanceMetadataTags    = KeyEC2AttributePrefix + "instancemetadatatags"

	// Of whoever calls with credentials that an instance got from its metadata
	// service: "1.0" or "2.0", the instance, and the network and address that
	// they were delivered to (POL-KEY-03, POL-KEY-04).
	KeyEC2RoleDelivery       = "ec2:roledelivery"
	KeyEC2SourceInstanceARN  = "ec2:sourceinstancearn"
	KeyAWSInstanceSourceVPC  = "aws:ec2instancesourcevpc"
	KeyAWSInstanceSourceIPv4 = "aws:ec2instancesourceprivateipv4"

	// Of the caller and the connection (POL-KEY-05).
	KeyAWSPrincipalARN    = "aws:principalarn"
	KeyAWSUserName        = "aws:username"
	KeyAWSUserID          = "aws:userid"
	KeyAWSSourceIP        = "aws:sourceip"
	KeyAWSCurrentTime     = "aws:currenttime"
	KeyAWSEpochTime       = "aws:epochtime"
	KeyAWSSecureTransport = "aws:securetransport"
	KeyAWSUserAgent       = "aws:useragent"
	KeyAWSRequestedRegion = "aws:requestedregion"

	// Of resources and what is asked of them.
	KeyEC2InstanceProfile    = "ec2:instanceprofile"
	KeyEC2NewInstanceProfile = "ec2:newinstanceprofile"
	KeyEC2InstanceType       = "ec2:instancetype"
	KeyAWSTagKeys            = "aws:tagkeys" // several values
	KeyAWSRequestTagPrefix   = "aws:requesttag/"
	KeyAWSResourceTagPrefix  = "aws:resourcetag/"
	KeyEC2ResourceTagPrefix  = "ec2:resourcetag/"
)

// Condition keys of ECS.
const (
	// Whether the security hardening mode is enforced, "true" or "false":
	// always there at RunInstances and CreateInstance, and at
	// ModifyInstanceMetadataOptions if HttpTokens is (POL-KEY-06, POL-KEY-07).
	KeyECSSecurityHardeningMode = "ecs:securityhardeningmode"

	// Requested, wherever the options are parameters; ours (POL-KEY-08).
	KeyECSHTTPTokens              = "ecs:httptokens"
	KeyECSHTTPEndpoint            = "ecs:httpendpoint"
	KeyECSHTTPPutResponseHopLimit = "ecs:httpputresponsehoplimit"
	KeyECSInstanceMetadataTags    = "ecs:instancemetadatatags"

	// Of the caller and the connection (POL-KEY-09).
	KeyACSPrincipalARN    = "acs:principalarn"
	KeyACSSourceIP        = "acs:sourceip"
	KeyACSCurrentTime     = "acs:currenttime"
	KeyACSSecureTransport = "acs:securetransport"
	KeyACSMFAPresent      = "acs:mfapresent"

	// Tags, before the key of the tag in lower case (POL-KEY-10).
	KeyECSTagPrefix         = "ecs:tag/"
	KeyACSRequestTagPrefix  = "acs:requesttag/"
	KeyACSResourceTagPrefix = "acs:resourcetag/"
)
