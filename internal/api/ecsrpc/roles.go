package ecsrpc

import (
	"context"
	"net/http"
	"slices"

	"openimds/internal/control"
)

type attachRoleInput struct {
	Role string `p:"RamRoleName,required"`
	IDs  idList `p:"InstanceIds,required"`
}

func attachInstanceRAMRole(ctx context.Context, r *request, in attachRoleInput) (any, error) {
	if len(in.IDs) > maxIDs {
		return nil, malformed("InstanceIds")
	}
	if err := checkOnce(in.IDs, "InstanceIds"); err != nil {
		return nil, err
	}
	done, err := r.Control.SetRoles(ctx, r.caller, control.RoleChange{IDs: in.IDs, Role: in.Role, Lenient: true})
	results, failed := resultsOf(done, "success")
	return struct {
		Role    string       `p:"RamRoleName"`
		Total   int          `p:"TotalCount"`
		Failed  int          `p:"FailCount"`
		Results []itemResult `p:"AttachInstanceRamRoleResults>AttachInstanceRamRoleResult"`
	}{in.Role, len(results), failed, results}, err
}

type roleSet struct {
	ID   string `p:"InstanceId"`
	Role string `p:"RamRoleName"`
}

type detachResult struct {
	Result itemResult `p:",inline"`
	Sets   []roleSet  `p:"InstanceRamRoleSets>InstanceRamRoleSet"`
}

// detachInstanceRamRole takes the role that is named away, or whichever there
// is. The reply names what each instance had.
func detachInstanceRAMRole(ctx context.Context, r *request, in struct {
	Role string `p:"RamRoleName"`
	IDs  idList `p:"InstanceIds,required"`
}) (any, error) {
	if len(in.IDs) > maxIDs {
		return nil, malformed("InstanceIds")
	}
	if err := checkOnce(in.IDs, "InstanceIds"); err != nil {
		return nil, err
	}
	done, err := r.Control.SetRoles(ctx, r.caller, control.RoleChange{IDs: in.IDs, Only: &in.Role, Lenient: true})
	results, failed := resultsOf(done, "success")
	var detached []detachResult
	for i, o := range done {
		d := detachResult{Result: results[i]}
		if o.Before != nil && o.Before.Spec.Role != nil {
			d.Sets = []roleSet{{o.ID, o.Before.Spec.Role.Name}}
		}
		detached = append(detached, d)
	}
	return struct {
		Role    string         `p:"RamRoleName"`
		Total   int            `p:"TotalCount"`
		Failed  int            `p:"FailCount"`
		Results []detachResult `p:"DetachInstanceRamRoleResults>DetachInstanceRamRoleResult"`
	}{in.Role, len(results), failed, detached}, err
}

func describeInstanceRAMRole(_ context.Context, r *request, in struct {
	paging
	Role string `p:"RamRoleName"`
	IDs  idList `p:"InstanceIds"`
}) (any, error) {
	if in.Role == "" && len(in.IDs) == 0 {
		return nil, refuse(http.StatusForbidden, "InvalidParameter.AllEmpty", "The specified InstanceIds and RamRoleName cannot both be empty.")
	}
	if len(in.IDs) > maxIDs {
		return nil, malformed("InstanceIds")
	}
	number, size, err := in.bounds(50)
	if err != nil {
		return nil, err
	}
	all, err := r.Control.Instances(r.caller)
	if err != nil {
		return nil, err
	}
	var found []roleSet
	seen := map[string]bool{}
	for _, i := range all {
		if len(in.IDs) > 0 && !slices.Contains(in.IDs, i.Spec.ID) {
			continue
		}
		seen[i.Spec.ID] = true
		role := ""
		if i.Spec.Role != nil {
			role = i.Spec.Role.Name
		}
		if in.Role == "" || in.Role == role {
			found = append(found, roleSet{i.Spec.ID, role})
		}
	}
	for _, id := range in.IDs {
		if !seen[id] {
			return nil, &control.Error{Reason: control.InstanceNotFound, Subject: id}
		}
	}
	return struct {
		Region     string    `p:"RegionId"`
		PageNumber int       `p:"PageNumber"`
		PageSize   int       `p:"PageSize"`
		TotalCount int       `p:"TotalCount"`
		Sets       []roleSet `p:"InstanceRamRoleSets>InstanceRamRoleSet"`
	}{r.caller.Region, number, size, len(found), page(found, number, size)}, nil
}
